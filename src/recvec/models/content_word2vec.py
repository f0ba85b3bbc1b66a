"""Content by Word2Vec: items as weighted means of the vectors of their words, people by what they liked.

The vectors come from a file (``vectors=PATH``), or are learned from the texts and attributes of the items themselves by
skip-gram with negative sampling (gensim). How they are averaged: `encoders.word_means`; profiles, scores, new items and
reasons: `models.content`. With a file the length of its vectors is the `embedding_dim`.

Source: Mikolov et al., "Distributed representations of words and phrases and their compositionality", NeurIPS 2013.
"""

from dataclasses import dataclass
from typing import ClassVar

from recvec.contract import Training, param
from recvec.encoders.word_means import Trainer
from recvec.encoders.word_training import Word2VecTrainer
from recvec.models.content_words import ContentWords


@dataclass(frozen=True, kw_only=True)
class ContentWord2Vec(ContentWords):
    """Items by vectors of their words, from a file or by Word2Vec."""

    name: ClassVar[str] = "content-word2vec"
    gives: ClassVar[str] = "item vectors from word vectors, profiles of people; vectors of new items"

    embedding_dim: int = param(100, "length of the vectors, unless a file has them", low=1, high=2048, search=(32, 512, "log"))

    def trainer(self, training: Training) -> Trainer:
        """See `ContentWords.trainer`."""
        seed = int(training.rng.integers(1, 2**31))
        return Word2VecTrainer(dim=self.embedding_dim, window=self.window, passes=self.passes, seed=seed)
