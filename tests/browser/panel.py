"""What a person does with a slider and sees beside it: the reading in words and the picture."""

from __future__ import annotations

import time
from dataclasses import dataclass

from playwright.sync_api import Locator, Page

ANSWER_TIMEOUT_S = 30
REST_MS = 400
# An Image widget gets a new blob address with every message: only the bytes tell whether the picture changed.
PICTURE_BYTES = """async element => {
    const image = element.matches('img') ? element : element.querySelector('img');
    const bytes = new Uint8Array(await (await fetch(image.src)).arrayBuffer());
    return bytes.reduce((text, byte) => text + byte.toString(16).padStart(2, '0'), '');
}"""


@dataclass(frozen=True)
class Seen:
    """What a panel shows at one moment."""

    reading: str
    picture: str


@dataclass(frozen=True)
class Panel:
    """The first cell with a slider, a reading and a picture."""

    page: Page

    @property
    def cell(self) -> Locator:
        cells = self.page.locator(".jp-Cell").filter(has=self.page.locator(".widget-slider"))
        return cells.filter(has=self.page.locator(".causalkit-reading")).first

    def look(self) -> Seen:
        picture = self.cell.locator(".causalkit-picture").first
        return Seen(self.cell.locator(".causalkit-reading").first.inner_text(), picture.evaluate(PICTURE_BYTES))

    def look_once_both_differ_from(self, before: Seen) -> Seen:
        """Wait until both have changed and come to rest: a drag passes through many values."""
        deadline = time.monotonic() + ANSWER_TIMEOUT_S
        earlier, now = before, self.look()
        while time.monotonic() < deadline and (
            now != earlier or now.reading == before.reading or now.picture == before.picture
        ):
            self.page.wait_for_timeout(REST_MS)
            earlier, now = now, self.look()
        return now

    def press(self, key: str) -> None:
        self.cell.locator(".noUi-handle").first.focus()
        self.page.keyboard.press(key)

    def drag_to(self, share: float) -> None:
        """Drag the handle with the mouse to a share of the slider's length."""
        handle = self.cell.locator(".noUi-handle").first
        handle.scroll_into_view_if_needed()
        start, track = handle.bounding_box(), self.cell.locator(".noUi-target").first.bounding_box()
        assert start is not None
        assert track is not None
        height = start["y"] + start["height"] / 2
        self.page.mouse.move(start["x"] + start["width"] / 2, height)
        self.page.mouse.down()
        self.page.mouse.move(track["x"] + track["width"] * share, height, steps=10)
        self.page.mouse.up()
