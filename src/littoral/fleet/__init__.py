"""Many sites: what each should live by, what it says of itself, which sites a sentence of labels means."""
