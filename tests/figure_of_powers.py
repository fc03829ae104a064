"""The text of a function `figure` of an experiment."""

FIGURE = """

def figure(ds):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(2, 1))
    figure.subplots().plot(ds.power)
    return figure
"""
