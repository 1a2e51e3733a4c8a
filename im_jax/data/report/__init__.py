"""What a data set holds, for a reader: lengths, classes, what is lost, duplicates, and the paper's fits.

`build` measures a prepared data set; `as_text`, `as_json` and `page` show what it found.
"""
