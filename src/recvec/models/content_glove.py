"""Content by GloVe: items as weighted means of the vectors of their words, people by what they liked.

The vectors come from a file (``vectors=PATH``), such as one of the public GloVe files, or are learned from the texts and
attributes of the items themselves (`kernels.glove`). How they are averaged: `encoders.word_means`; profiles, scores, new
items and reasons: `models.content`. With a file the length of its vectors is the `embedding_dim`.

Source: Pennington, Socher, Manning, "GloVe: global vectors for word representation", EMNLP 2014.
"""

from dataclasses import dataclass
from typing import ClassVar

from recvec.contract import Training, param
from recvec.encoders.word_means import Trainer
from recvec.encoders.word_training import GloVeTrainer
from recvec.models.content_words import ContentWords


@dataclass(frozen=True, kw_only=True)
class ContentGloVe(ContentWords):
    """Items by vectors of their words, from a file or by GloVe."""

    name: ClassVar[str] = "content-glove"
    gives: ClassVar[str] = "item vectors from word vectors, profiles of people; vectors of new items"

    embedding_dim: int = param(100, "length of the vectors, unless a file has them", low=1, high=2048, search=(32, 512, "log"))

    def trainer(self, training: Training) -> Trainer:
        """See `ContentWords.trainer`."""
        return GloVeTrainer(dim=self.embedding_dim, window=self.window, passes=self.passes, rng=training.rng)
