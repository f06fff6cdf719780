"""One request: admission, batching, execution and the models that stand ready."""
