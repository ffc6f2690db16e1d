"""The command that draws the README's figure anew: figure."""

from chatlab import course as courses
from chatlab.cli.say import Failure, app, say, short


@app.command()
def figure() -> None:
    """Draw the README's figure anew, docs/figure.png, from a real run."""
    from chatlab.tours.figure import FigureError, draw

    root = courses.find_root()
    path = root / "docs" / "figure.png"
    try:
        draw(path)
    except FigureError as error:
        raise Failure(str(error)) from None
    except OSError as error:
        raise Failure(f"{short(path, root)} cannot be written: {error.strerror}") from None
    say(f"{short(path, root)}  {path.stat().st_size / 1000:.0f} kB")
