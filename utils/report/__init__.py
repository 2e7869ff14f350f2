"""Tables, figures and a page of the runs in an output folder: python -m utils.report output."""
