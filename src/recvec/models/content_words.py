"""What content by Word2Vec and by GloVe share: where word vectors come from, and how those of an item are averaged."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from recvec.contract import Training, param
from recvec.data.dataset import Dataset
from recvec.encoders.terms import TermEncoder
from recvec.encoders.word_means import Trainer, WordMeanEncoder
from recvec.encoders.word_vectors import WordVectors
from recvec.models.content import ContentMethod
from recvec.types import Array


@dataclass(frozen=True, kw_only=True)
class ContentWords(ContentMethod):
    """Hyper-parameters of methods that average word vectors; a method says how it learns vectors where no file is given."""

    vectors: str = param("", "a file of word vectors (word2vec, GloVe or gensim); without one they are learned from the items")
    weighting: str = param("sif", "how words are averaged: by smooth inverse frequency, or alike", choices=("sif", "mean"))
    sif: float = param(1e-3, "the share of all words from which on a word counts less than half", low=1e-9, high=1.0)
    n_removed: int = param(1, "common directions that are removed from the items", low=0, high=100)
    min_items: int = param(2, "terms of fewer items are left out", low=1, high=1_000_000)
    attribute_weight: float = param(2.5, "what an attribute value counts, in words", low=0.0, high=1e6, search=(0.5, 10.0, "log"))
    window: int = param(10, "the farthest distance of two words that are learned together", low=1, high=1000)
    passes: int = param(20, "how often the texts are read where vectors are learned", low=1, high=10_000)
    n_spare: int = param(20_000, "first words of a file that a model keeps for new items", low=0, high=10_000_000)

    @abstractmethod
    def trainer(self, training: Training) -> Trainer:
        """Return what learns vectors from the items."""

    def encoder(self, dataset: Dataset, training: Training) -> TermEncoder:
        """See `ContentMethod.encoder`."""
        return WordMeanEncoder.fit(
            dataset.item_features,
            WordVectors.open(self.vectors) if self.vectors else self.trainer(training),
            min_items=1 if self.vectors else self.min_items,
            weighting=self.weighting,
            sif=self.sif,
            n_removed=self.n_removed,
            attribute_weight=self.attribute_weight,
            n_spare=self.n_spare if self.vectors else 0,
            rng=training.rng,
            executor=training.runtime.executor,
        )

    def restored_encoder(self, meta: Mapping[str, Any], arrays: Mapping[str, Array]) -> TermEncoder:
        """See `ContentMethod.restored_encoder`."""
        return WordMeanEncoder.restore(meta, arrays)
