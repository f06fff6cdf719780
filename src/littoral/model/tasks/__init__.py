"""What a model's numbers mean: pictures in, labels and boxes out, for each kind of task."""
