"""Tables, figures and a page of the runs in an output folder: python -m scripts.report output."""
