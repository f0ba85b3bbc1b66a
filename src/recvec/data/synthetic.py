"""A seeded sample with known structure: taste, attributes and popularity are what made the interactions.

Each item belongs to one or two of eight genres and has a power-law popularity. A person's taste over genres is the sum
of what their age group, gender and occupation like and of a taste of their own; inside the genres, taste and items have
`n_latent` hidden traits. A person picks items without replacement with probability proportional to
``exp(log popularity + taste . genres + traits . traits)``; the liking of what they picked gives the rating.
"""

import numpy as np
import polars as pl

from recvec.data.dataset import Dataset
from recvec.data.readers import read
from recvec.errors import ValueRangeError
from recvec.types import F64, I64

AGE_GROUPS = ("under 25", "25-34", "35-49", "50 and over")
GENDERS = ("F", "M")
OCCUPATIONS = ("artist", "engineer", "farmer", "lawyer", "nurse", "student", "teacher", "writer")
GENRES = {
    "Adventure": ("expedition", "island", "treasure", "mountain", "compass", "storm", "river", "voyage"),
    "Comedy": ("neighbour", "mistake", "wedding", "holiday", "prank", "dinner", "cousin", "parade"),
    "Crime": ("detective", "alibi", "heist", "witness", "verdict", "harbour", "ransom", "motive"),
    "Documentary": ("archive", "forest", "glacier", "orchestra", "village", "craft", "bee", "railway"),
    "Drama": ("letter", "winter", "sister", "promise", "farewell", "orchard", "silence", "return"),
    "Fantasy": ("dragon", "spell", "kingdom", "oracle", "lantern", "giant", "mirror", "crown"),
    "Romance": ("summer", "garden", "dance", "bridge", "melody", "stranger", "rain", "kiss"),
    "Science Fiction": ("orbit", "android", "signal", "colony", "eclipse", "reactor", "comet", "clone"),
}
ADJECTIVES = (
    "Silent", "Golden", "Hidden", "Last", "Distant", "Broken", "Crimson", "Little", "Endless", "Forgotten", "Second",
    "Northern", "Paper", "Velvet", "Burning", "Lost", "Wandering", "Quiet", "Secret", "Glass",
)  # fmt: skip


def sample(*, n_users: int = 1000, n_items: int = 600, mean_history: float = 40.0, n_latent: int = 6, seed: int = 0) -> Dataset:
    """Make the built-in sample, the same for a seed on every machine.

    Parameters
    ----------
    n_users, n_items : int
        Size, each at least 10.
    mean_history : float
        Mean number of interactions of a user; histories have a long tail.
    n_latent : int
        Number of hidden traits inside the genres.
    seed : int
        Seed.

    Returns
    -------
    Dataset
        Users with age_group, gender and occupation; items with title, genres and plot; interactions with rating
        and timestamp.

    Raises
    ------
    ValueRangeError
        For sizes below 10.
    """
    interactions, users, items = sample_tables(n_users=n_users, n_items=n_items, mean_history=mean_history, n_latent=n_latent, seed=seed)
    return read(interactions, users=users, items=items)


def sample_tables(
    *, n_users: int = 1000, n_items: int = 600, mean_history: float = 40.0, n_latent: int = 6, seed: int = 0
) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Return the tables behind `sample`: interactions, users, items."""
    if n_users < 10 or n_items < 10:
        raise ValueRangeError(f"a sample of {n_users} users and {n_items} items is too small; allowed: 10 or more of each")
    rng = np.random.default_rng(seed)
    genres = _genres_of_items(n_items, rng)  # (n_items, n_genres), rows sum to 1
    codes = [rng.integers(0, len(levels), n_users) for levels in (AGE_GROUPS, GENDERS, OCCUPATIONS)]
    taste = _tastes(codes, rng)  # (n_users, n_genres)
    liking = taste @ genres.T * 2.0
    liking += rng.standard_normal((n_users, n_latent)) @ rng.standard_normal((n_latent, n_items)) * (1.6 / np.sqrt(n_latent))
    popularity = -0.9 * np.log(np.arange(1, n_items + 1))[rng.permutation(n_items)]
    lengths = np.clip(rng.lognormal(np.log(mean_history) - 0.32, 0.8, n_users), 3, n_items / 3).astype(np.int64)
    # the largest of log p + Gumbel noise are a sample without replacement
    order = np.argsort(-(popularity + liking + rng.gumbel(size=liking.shape)), axis=1, kind="stable")
    person = np.repeat(np.arange(n_users), lengths)
    place = np.arange(len(person)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    item = order[person, place]
    stars = np.clip(np.round(3.4 + 0.5 * liking[person, item] + rng.normal(0, 0.7, len(person))), 1, 5)
    shuffled = rng.permutation(len(person))
    begin = 1_600_000_000 + rng.integers(0, 30_000_000, n_users)
    interactions = pl.DataFrame(
        {
            "user_id": [f"u{u + 1}" for u in person[shuffled]],
            "item_id": [f"i{i + 1}" for i in item[shuffled]],
            "rating": stars[shuffled],
            "timestamp": begin[person[shuffled]] + rng.integers(0, 5_000_000, len(person)),
        }
    )
    users = pl.DataFrame(
        {
            "user_id": [f"u{u + 1}" for u in range(n_users)],
            "age_group": np.array(AGE_GROUPS)[codes[0]],
            "gender": np.array(GENDERS)[codes[1]],
            "occupation": np.array(OCCUPATIONS)[codes[2]],
        }
    )
    return interactions, users, _item_table(genres, rng)


def _genres_of_items(n_items: int, rng: np.random.Generator) -> F64:
    weights = np.zeros((n_items, len(GENRES)))
    rows, first = np.arange(n_items), rng.integers(0, len(GENRES), n_items)
    second = (first + rng.integers(1, len(GENRES), n_items)) % len(GENRES)
    share = np.where(rng.random(n_items) < 0.5, rng.uniform(0.2, 0.5, n_items), 0.0)
    weights[rows, first] = 1 - share
    weights[rows, second] += share
    return weights


def _tastes(codes: list[I64], rng: np.random.Generator) -> F64:
    """Sum what each attribute level likes and a taste of one's own."""
    own = rng.standard_normal((len(codes[0]), len(GENRES))) * 0.6
    for levels, code in zip((AGE_GROUPS, GENDERS, OCCUPATIONS), codes, strict=True):
        own += (rng.standard_normal((len(levels), len(GENRES))) * 0.6)[code]
    return own


def _item_table(genres: F64, rng: np.random.Generator) -> pl.DataFrame:
    names, words = list(GENRES), list(GENRES.values())
    titles: list[str] = []
    listed, plots = [], []
    part: dict[str, int] = {}
    for row in genres:
        mine = np.argsort(-row, kind="stable")[: int((row > 0).sum())]
        nouns = [str(w) for g in mine for w in rng.choice(words[g], size=3, replace=False)]
        title = f"The {rng.choice(ADJECTIVES)} {nouns[0].title()}"
        part[title] = part.get(title, 0) + 1
        titles.append(title if part[title] == 1 else f"{title} {part[title]}")
        listed.append("|".join(names[g] for g in mine))
        plots.append(f"A story of {nouns[0]} and {nouns[1]}, in which a {nouns[-1]} changes everything.")
    ids = [f"i{i + 1}" for i in range(len(genres))]
    return pl.DataFrame({"item_id": ids, "title": titles, "genres": listed, "plot": plots})
