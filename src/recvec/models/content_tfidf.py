"""Content by TF-IDF: items by the terms of their texts, categories and numbers, people by what they liked.

Items are rows of a TF-IDF matrix (`encoders.tfidf`), their vectors its truncated singular value decomposition; profiles,
scores, new items and reasons are those of all content methods (`models.content`). The sparse rows stay in the model:
``model.fold_in.exact_scores`` compares by them, and an explanation names terms that an item shares with a history.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from recvec.contract import Training, param
from recvec.data.dataset import Dataset
from recvec.encoders.tfidf import TfidfEncoder
from recvec.models.content import ContentMethod
from recvec.types import Array


@dataclass(frozen=True, kw_only=True)
class ContentTFIDF(ContentMethod):
    """Items by TF-IDF of their texts and attributes."""

    name: ClassVar[str] = "content-tfidf"
    gives: ClassVar[str] = "item vectors from texts and attributes, profiles of people; vectors of new items"
    extra: ClassVar[str] = "sklearn"

    min_items: int = param(2, "terms of fewer items are left out", low=1, high=1_000_000)
    max_share: float = param(0.5, "words of a larger share of the items are left out", low=0.0, high=1.0)
    max_terms: int = param(50_000, "the most frequent terms that are kept", low=1, high=10_000_000)
    attribute_weight: float = param(2.5, "what an attribute value counts, in words", low=0.0, high=1e6, search=(0.5, 10.0, "log"))

    def encoder(self, dataset: Dataset, training: Training) -> TfidfEncoder:
        """See `ContentMethod.encoder`."""
        return TfidfEncoder.fit(
            dataset.item_features,
            embedding_dim=self.embedding_dim,
            min_items=self.min_items,
            max_share=self.max_share,
            max_terms=self.max_terms,
            attribute_weight=self.attribute_weight,
            rng=training.rng,
            executor=training.runtime.executor,
        )

    def restored_encoder(self, meta: Mapping[str, Any], arrays: Mapping[str, Array]) -> TfidfEncoder:
        """See `ContentMethod.restored_encoder`."""
        return TfidfEncoder.restore(meta, arrays)
