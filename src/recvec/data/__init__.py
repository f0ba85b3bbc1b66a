"""Tables in, numbered rows out: vocabulary, interactions, histories, attributes, splits, readers."""
