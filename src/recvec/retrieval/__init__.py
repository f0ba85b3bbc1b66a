"""From a model to lists with ids, for every person."""
