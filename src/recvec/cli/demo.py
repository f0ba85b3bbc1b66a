"""``recvec demo``: the main job on the built-in sample, in under a minute."""

import time

import polars as pl

import recvec as rv
from recvec.cli import options, output
from recvec.cli.recommend import with_titles
from recvec.types import Json


def demo(json_file: options.JsonFile = None) -> None:
    """Learn embeddings on the built-in sample, judge them against popularity, recommend and find similar items."""
    output.check_file(json_file)
    started = time.perf_counter()
    data = rv.sample(seed=0)
    split = rv.split(data, "leave-last-out")
    output.say(f"Built-in sample: {len(data.interactions):,} interactions, {data.n_users:,} users, {data.n_items:,} items with titles.")
    output.say("The latest interaction of every user is hidden; each method ranks all items the user has not met.\n")
    models = {m.name: m.fit(split.train) for m in (rv.Random(), rv.Popularity(), rv.SVD(embedding_dim=32), rv.ALS(embedding_dim=32))}
    results = {name: rv.evaluate(model, split, k=10) for name, model in models.items()}
    output.show(pl.DataFrame([_line(name, result) for name, result in results.items()]), "share of users whose hidden item is among 10")
    who = rv.Recommender(models["als"], split.train)
    user, item = "u7", "i1"
    mine = split.train.histories().take(who.users.rows([user]))
    liked = who.titles(who.items.ids[mine.items])
    output.say(f"\nUser {user} met, among others: {', '.join(liked[:4]) if liked is not None else ''}")
    lists = {
        f"Recommended to user {user}": who.recommend([user], 5).drop("user_id"),
        f"Recommended to a new person who liked {item}": who.recommend_for(history=[item], k=5),
        "Recommended to a person we know nothing about": who.recommend_for(k=5),
        f"Items like {item}": who.similar_items(item, 5),
    }
    for title, frame in lists.items():
        output.say(f"\n{title}:")
        output.show(with_titles(who, frame), title)
    seconds = time.perf_counter() - started
    output.say(f"\nDone in {seconds:.1f} s. With your own table: recvec fit ratings.csv --method als --out model/")
    content: dict[str, Json] = {"seconds": seconds, "results": {name: result.json() for name, result in results.items()}}
    output.write_json(content, json_file)


def _line(name: str, result: "rv.Evaluation") -> dict[str, object]:
    low, high = result.intervals["hit_rate@10"]
    return {
        "method": name, "hit_rate@10": round(result.metrics["hit_rate@10"], 4), "from": round(low, 4), "to": round(high, 4),
        "ndcg@10": round(result.metrics["ndcg@10"], 4),
    }  # fmt: skip
