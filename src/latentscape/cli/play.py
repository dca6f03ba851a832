"""The verb that plays."""

from typing import Annotated

import typer

from latentscape.cli.options import PLAY, Device, Draw, Run, app, print_lines


@app.command(rich_help_panel=PLAY)
def play(
    run: Run,
    port: Annotated[
        int | None, typer.Option(help="where to listen", show_default="8137, or the next one free", min=1, max=65535)
    ] = None,
    host: Annotated[
        str | None, typer.Option(help="listen on this address of the machine, for those who have the URL's token")
    ] = None,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="open the page in a browser")] = True,
    device: Device = "auto",
    draw: Draw = None,
) -> None:
    """Play live in a browser: drag over the map, draw paths, turn axes, drop in sounds, record."""
    from latentscape.play import serve
    from latentscape.workshop.making import Making, draw_of

    told = draw_of(draw)
    drawing = Making(draw=told).drawing if told else None
    serve(
        run, host=host, port=port, browser=browser, device=device, drawing=drawing, say=lambda line: print_lines([line])
    )
