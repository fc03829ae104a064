"""The report in a browser: it loads without a word, asks for nothing, moves, searches, zooms, and fits a phone.

Needs Chromium and its driver (Debian: apt-get install chromium chromium-driver). Without them these tests are
skipped, but where the environment has CI=true they fail.
"""

import base64
import os
import shutil
from io import BytesIO
from urllib.parse import unquote, urlparse

import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.image import imread
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.wait import WebDriverWait

from wfr_pde.app.report import write_report
from wfr_pde.storage import files

OPTIONS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
PHONE, DESK = (375, 812), (1280, 900)
LONG = "a_name_that_is_longer_than_what_one_would_take_for_a_variable"


def densities():
    """By name of the experiment: W and WFR on a line, and one density in the plane with its target."""
    t = np.linspace(0, 3, 12)
    x, y = np.linspace(-5, 5, 120), np.linspace(-3, 3, 60)
    centre, variance = 2 * np.exp(-t), 1 - 0.8 * np.exp(-t)
    line = -((x - centre[:, None]) ** 2) / (2 * variance[:, None]) - 0.5 * np.log(2 * np.pi * variance)[:, None]
    plane = line[:, :, None] - y**2 / 2 - 0.5 * np.log(2 * np.pi)
    first = {"log_density": (("flow", "t", "x"), np.stack([line, line[-1:].repeat(12, axis=0)]))}
    second = {"log_density": (("t", "x", "y"), plane), "log_target": (("x", "y"), -(x[:, None] ** 2 + y**2) / 2)}
    return {
        "line": xr.Dataset({**first, LONG: ((), 1.25, {"units": "nats"})}, {"t": t, "x": x, "flow": ["W", "WFR"]}),
        "plane": xr.Dataset(second, {"t": t, "x": x, "y": y}),
    }


def check(value):
    return {"value": value, "expected": 1.25, "tolerance": 1e-5}


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A page of two runs of `line`, one of `plane` which fails, and one that is not finished."""
    root = tmp_path_factory.mktemp("project")
    about = {"command": "wfr-pde run NAME --knob=1,2,3,4,5,6,7,8,9 --another-long-knob=0.123456789", "wall_time": 3.0}
    for name, ds in densities().items():
        for n in (1, 2) if name == "line" else (1,):
            directory = root / "results" / name / f"run {n} # of 100%"
            files.write_dataset(ds, directory / "data.nc")
            content = {"status": "done", "experiment": name, "description": f"A density on the {name}.", **about}
            content["caption"] = f"A density on the {name}. (a) The density; (b) the other."
            checks = {LONG: check(1.25), "short": check(1.25000123 if name == "line" else 1e-17)}
            files.write_json({**content, "knobs": {"n": n, LONG: 0.1}, "checks": checks}, directory / "run.json")
            figure = Figure(figsize=(6, 3))
            figure.subplots().plot([0, 1])
            figure.savefig(directory / "figure.png", dpi=200)
    files.write_json({"status": "running"}, root / "results" / "stopped" / "0" / "run.json")
    write_report(root / "results", root / "report.html", root)
    return root / "report.html"


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    """A headless browser with a new profile that logs what it says and asks for."""
    browser, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if browser is None or driver is None:
        reason = "chromium and chromedriver are not both installed (Debian: apt-get install chromium chromium-driver)"
        if os.environ.get("CI", "").lower() == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for option in (*OPTIONS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    started = webdriver.Chrome(options=options, service=Service(driver))
    yield started
    started.quit()


@pytest.fixture
def opened(chromium, page):
    """The page on a desk, freshly loaded, all films drawn."""
    resize(chromium, DESK)
    theme(chromium, "light")
    for log in ("browser", "performance"):
        chromium.get_log(log)
    chromium.get(page.as_uri())
    chromium.execute_script("localStorage.clear()")
    WebDriverWait(chromium, 60).until(lambda d: d.execute_script("return document.body.dataset.ready") == "true")
    yield chromium
    chromium.execute_script("localStorage.clear()")


def resize(browser, size):
    width, height = size
    metrics = {"width": width, "height": height, "deviceScaleFactor": 2, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def theme(browser, name):
    """What the system prefers; without smooth scrolling, which a click would not wait for."""
    features = [{"name": "prefers-color-scheme", "value": name}, {"name": "prefers-reduced-motion", "value": "reduce"}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def one(browser, selector):
    return browser.find_element(By.CSS_SELECTOR, selector)


def shown(browser, selector):
    return [element for element in browser.find_elements(By.CSS_SELECTOR, selector) if element.is_displayed()]


def pixels(film):
    return film.parent.execute_script("return arguments[0].querySelector('canvas').toDataURL()", film)


def test_it_loads_without_a_word_and_asks_for_nothing(opened, page):
    assert opened.get_log("browser") == []
    events = [entry["message"] for entry in opened.get_log("performance")]
    requests = [event for event in events if '"Network.requestWillBeSent"' in event]
    assert requests  # the page itself
    assert [event for event in requests if page.as_uri() not in event and '"url":"data:' not in event] == []
    assert len(shown(opened, "article.experiment")) == 3
    assert [note.text for note in shown(opened, ".film .note")] == []


@pytest.mark.parametrize("name", ["line", "plane"])
def test_the_slider_moves_the_picture(opened, name):
    film = one(opened, f"#experiment-{name} .film")
    slider, output = film.find_element(By.CSS_SELECTOR, "input[type=range]"), film.find_element(By.TAG_NAME, "output")
    pictures, labels = [pixels(film)], [output.text]
    for key in (Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.END):
        slider.send_keys(key)
        pictures.append(pixels(film))
        labels.append(output.text)
    assert len(set(pictures)) == 4
    assert labels == ["t = 0", "t = 0.2727", "t = 0.5455", "t = 3"]
    assert slider.get_attribute("aria-valuetext") == "t = 3"
    assert one(film, "canvas").get_attribute("aria-label") == f"Density: A density on the {name}. (t = 3)"
    slider.send_keys(Keys.HOME)
    assert pixels(film) == pictures[0]


def test_the_picture_is_of_the_stored_density(opened):
    """The darkest shade of the first frame is where the density is highest, at x = 2, y = 0."""
    film = one(opened, "#experiment-plane .film")
    png = pixels(film).split(",")[1]
    image = np.rint(255 * imread(BytesIO(base64.b64decode(png)), format="png"))
    width = image.shape[1]
    shade = np.where(image[..., 3] == 255, image[..., 0], 255)[:, : width * 8 // 10]  # without the bar beside it
    rows, columns = np.nonzero(shade <= shade.min() + 2)
    box = opened.execute_script("return arguments[0].clientWidth", one(film, "canvas"))
    scale, room = width / box, box - 54 - 62
    span = min(room, 460 / 0.6)  # six units high, ten wide
    x = -5 + 10 * (np.median(columns) / scale - 54 - (room - span) / 2) / span
    y = 3 - 6 * (np.median(rows) / scale - 8) / (0.6 * span)
    assert (x, y) == pytest.approx((2.0, 0.0), abs=0.15)


@pytest.mark.parametrize("option", [0, 1])
@pytest.mark.parametrize("name", ["line", "plane"])
def test_options_redraw(opened, name, option):
    film = one(opened, f"#experiment-{name} .film")
    one(film, "input[type=range]").send_keys(*[Keys.ARROW_RIGHT] * 6)
    before = pixels(film)
    film.find_elements(By.CSS_SELECTOR, ".options input")[option].click()
    assert pixels(film) != before


def test_play_runs_to_the_end_and_stops(opened):
    film = one(opened, "#experiment-line .film")
    slider, button = one(film, "input[type=range]"), one(film, ".play")
    slider.send_keys(Keys.END, Keys.ARROW_LEFT, Keys.ARROW_LEFT)
    button.click()
    assert button.text == "Pause"
    WebDriverWait(opened, 60).until(lambda d: button.text == "Play")
    assert slider.get_attribute("value") == slider.get_attribute("max")


def test_a_film_in_a_run_that_was_closed_is_drawn_when_opened(opened):
    run = opened.find_elements(By.CSS_SELECTOR, "#experiment-line .run")[1]
    one(run, "summary").click()
    film = one(run, ".film")
    WebDriverWait(opened, 30).until(lambda d: len(pixels(film)) > 5000)


def test_search_filters_as_one_types(opened):
    field = one(opened, "#search")
    one(opened, "body").send_keys("/")
    assert opened.switch_to.active_element == field
    names = {"": ["line", "plane", "stopped"], "PLANE": ["plane"], "density the": ["line", "plane"], "nothing": []}
    for words, expected in names.items():
        field.clear()
        field.send_keys(words or " ")
        assert [entry.text.split("\n")[1] for entry in shown(opened, "#index li")] == expected
        assert [title.text for title in shown(opened, "article h2")] == expected
    assert one(opened, "#found").text == "0 of 3 experiments"
    field.send_keys(Keys.ESCAPE)
    assert len(shown(opened, "article.experiment")) == 3
    assert one(opened, "#found").text == "3 experiments"


def test_links_resolve(opened, page):
    links = [a.get_attribute("href") for a in opened.find_elements(By.TAG_NAME, "a")]
    files = [unquote(urlparse(link).path) for link in links if "#" not in link]
    assert len(files) == 3 * 3 + 1
    assert all(os.path.isfile(path) for path in files)
    assert any(path.endswith("run 1 # of 100%/data.nc") for path in files)
    anchors = [link.split("#")[1] for link in links if link.startswith(page.as_uri() + "#")]
    assert anchors[0] == "main"  # past the index, for those who read by keyboard
    assert len(anchors) == 1 + 3 + 1
    assert all(opened.find_elements(By.ID, anchor) for anchor in anchors)


def test_the_theme_follows_the_system_and_the_button(opened):
    button, film = one(opened, "#theme"), one(opened, "#experiment-line .film")

    def ground():
        return opened.execute_script("return getComputedStyle(document.body).backgroundColor")

    light, light_picture = ground(), pixels(film)
    assert button.text == "Dark theme"
    theme(opened, "dark")
    dark = ground()
    assert dark != light
    WebDriverWait(opened, 30).until(lambda d: pixels(film) != light_picture)
    assert button.text == "Light theme"
    button.click()
    assert (ground(), pixels(film)) == (light, light_picture)
    opened.refresh()  # the choice is remembered
    WebDriverWait(opened, 60).until(lambda d: d.execute_script("return document.body.dataset.ready") == "true")
    assert ground() == light


def test_a_figure_is_enlarged(opened):
    one(opened, "#experiment-plane .zoom").send_keys(Keys.ENTER)
    dialog = one(opened, "#zoom")
    assert dialog.is_displayed()
    image = one(dialog, "img")
    assert image.get_attribute("alt") == "Figure: A density on the plane."
    WebDriverWait(opened, 30).until(lambda d: image.size["width"] > 1000)
    before = image.size["width"]
    one(dialog, "[data-zoom=in]").click()
    dialog.send_keys("+")
    assert image.size["width"] == pytest.approx(1.4**2 * before, rel=0.01)
    one(dialog, "[data-zoom=fit]").click()
    assert image.size["width"] == before
    opened.switch_to.active_element.send_keys(Keys.ESCAPE)
    assert not dialog.is_displayed()


def test_the_command_is_copied(opened):
    opened.execute_cdp_cmd("Browser.grantPermissions", {"permissions": ["clipboardReadWrite"]})
    button = one(opened, "#experiment-plane .copy")
    button.click()
    WebDriverWait(opened, 30).until(lambda d: button.text in ("Copied", "Selected"))
    code = one(opened, "#experiment-plane .command code").get_attribute("textContent")
    assert code == "wfr-pde run NAME --knob=1,2,3,4,5,6,7,8,9 --another-long-knob=0.123456789"


TOO_WIDE = """
const inside = (node) => node.closest(".scroll, #index, pre") !== null;
return [...document.querySelectorAll("body *")]
  .filter((node) => !inside(node) && !node.closest(".skip"))
  .filter((node) => node.getBoundingClientRect().right > innerWidth + 0.5)
  .map((node) => node.outerHTML.slice(0, 200));
"""


@pytest.mark.parametrize("width", [320, 375, 768, 1280])
def test_nothing_is_wider_than_the_screen(opened, width):
    resize(opened, (width, 812))
    for details in opened.find_elements(By.CSS_SELECTOR, "details:not([open]) > summary"):
        opened.execute_script("arguments[0].parentElement.open = true", details)
    WebDriverWait(opened, 30).until(lambda d: one(d, ".film canvas").size["width"] < width)
    assert opened.execute_script("return document.documentElement.scrollWidth") <= width
    assert opened.execute_script(TOO_WIDE) == []


LOW_CONTRAST = """
const parts = (text) => text.match(/[\\d.]+/g).map(Number);
const luminance = (c) => {
  const [r, g, b] = c.slice(0, 3).map((v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const ground = (node) => {
  for (; node; node = node.parentElement) {
    const c = parts(getComputedStyle(node).backgroundColor);
    if (c.length === 3 || c[3] === 1) return c;
  }
  return [255, 255, 255];
};
return [...document.querySelectorAll("body *")].filter((node) =>
  node.checkVisibility({ opacityProperty: true }) &&
  [...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim())
).map((node) => {
  const [a, b] = [parts(getComputedStyle(node).color), ground(node)].map(luminance).sort((u, v) => v - u);
  return [(a + 0.05) / (b + 0.05), node.outerHTML.slice(0, 120)];
}).filter(([ratio]) => ratio < 4.5);
"""


@pytest.mark.parametrize("name", ["light", "dark"])
def test_text_has_contrast(opened, name):
    theme(opened, name)
    assert opened.execute_script(LOW_CONTRAST) == []


def test_everything_to_use_has_a_name(opened):
    unnamed = opened.execute_script("""
        return [...document.querySelectorAll("button, input, select, img, canvas, summary, a")]
          .filter((n) => !n.closest("dialog:not([open])") && !(n.labels?.length || n.getAttribute("aria-label") || n.alt
             || n.textContent.trim()))
          .map((n) => n.outerHTML.slice(0, 200));
    """)
    assert unnamed == []
