"""One file a training set; the name of the file is the name of the recipe."""
