"""Files that people write: YAML that knows where everything in it was written."""
