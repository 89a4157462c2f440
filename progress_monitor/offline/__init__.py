"""Videos and bags in; JSONL, plots and annotated video out."""
