"""The page in a browser: sorting, filters, images, keyboard, and the width of a phone."""

import shutil

import numpy as np
import pytest

from m3d_sklearn import CondensedSet
from m3d_sklearn.plotting import to_bytes

webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
DRIVER = shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="needs chromium and chromedriver on the path"
)
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1200,900",
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(executable_path=DRIVER))
    yield driver
    driver.quit()


@pytest.fixture
def page(browser, path):
    """The page, opened anew; nothing may have complained by the end of a test."""
    browser.get(path.as_uri())
    yield browser
    assert browser.get_log("browser") == []


def click(page, selector, text):
    """Press the button with this text, as a mouse does."""
    (button,) = (b for b in page.find_elements("css selector", selector) if b.text == text)
    page.execute_script("arguments[0].scrollIntoView({block: 'center'})", button)
    button.click()


def column(page, name):
    """Texts of the shown cells below a header, first lines alone."""
    return page.execute_script(
        """
        const header = [...document.querySelectorAll("#lines th")]
          .find((th) => th.textContent.trim() === arguments[0]);
        return [...document.querySelectorAll("#lines tbody tr")]
          .filter((row) => row.offsetParent !== null)
          .map((row) => row.cells[header.cellIndex].innerText.split("\\n")[0]);
        """,
        name,
    )


def aria_sort(page):
    headers = page.find_elements("css selector", "#lines th")
    found = {header.text: header.get_attribute("aria-sort") for header in headers}
    return {name: order for name, order in found.items() if order != "none"}


def means(page):
    return [float(text.split(" ")[0]) for text in column(page, "Accuracy %")]


def images(page, selector="#strips img"):
    return [image.get_attribute("src") for image in page.find_elements("css selector", selector)]


def chosen(page):
    pressed = page.find_elements("css selector", "#gallery [aria-pressed=true]")
    return [button.text for button in pressed if button.is_displayed()]


# The table


def test_numbers_sort_as_numbers_up_and_then_down(page):
    given = means(page)
    assert given != sorted(given)
    click(page, "#lines th button", "Accuracy %")
    assert means(page) == sorted(given)
    assert aria_sort(page) == {"Accuracy %": "ascending"}
    click(page, "#lines th button", "Accuracy %")
    assert means(page) == sorted(given, reverse=True)
    assert aria_sort(page) == {"Accuracy %": "descending"}


def test_small_numbers_are_no_words(page):
    click(page, "#lines th button", "Fit s")
    assert list(dict.fromkeys(column(page, "Fit s"))) == ["0.0900", "0.100", "2.00", "12.0"]


def test_words_sort_as_words_and_one_header_at_a_time_says_so(page):
    click(page, "#lines th button", "Accuracy %")
    click(page, "#lines th button", "Method")
    methods = column(page, "Method")
    assert methods == sorted(methods, key=str.lower)
    assert aria_sort(page) == {"Method": "ascending"}


@pytest.mark.parametrize(("name", "missing"), [("ipc", "all"), ("Poster %", "–"), ("MMD²", "–")])
def test_what_has_no_value_stays_at_the_end_both_ways(page, name, missing):
    for _ in range(2):
        click(page, "#lines th button", name)
        cells = column(page, name)
        known = [cell for cell in cells if cell != missing]
        assert 0 < len(known) < len(cells)
        assert cells[: len(known)] == known


def test_equal_values_keep_their_order(page):
    before = [row for row in zip(column(page, "ipc"), means(page), strict=True) if row[0] == "4"]
    click(page, "#lines th button", "ipc")
    after = [row for row in zip(column(page, "ipc"), means(page), strict=True) if row[0] == "4"]
    assert after == before


def test_a_header_sorts_by_the_keyboard(page):
    from selenium.webdriver.common.keys import Keys

    (button,) = (
        b for b in page.find_elements("css selector", "#lines th button") if b.text == "ipc"
    )
    button.send_keys(Keys.ENTER)
    assert column(page, "ipc")[0] == "1"
    button.send_keys(Keys.SPACE)
    assert column(page, "ipc")[0] == "4"


def test_filters_leave_what_was_chosen_and_work_together(page):
    from selenium.webdriver.support.select import Select

    def choose(name, value):
        Select(page.find_element("css selector", f"[data-filter={name}]")).select_by_visible_text(
            value
        )

    count = page.find_element("id", "count")
    every = len(column(page, "Model"))
    assert count.text == f"{every} lines"
    choose("dataset", "digits")
    assert set(column(page, "Data set")) == {"digits"}
    choose("protocol", "dc")
    assert set(column(page, "Protocol")) == {"dc"}
    assert count.text == f"6 of {every} lines"
    choose("model", "knn")
    assert column(page, "Model") == []
    choose("protocol", "–")
    assert set(column(page, "Model")) == {"knn"}
    for name in ("dataset", "model", "protocol"):
        choose(name, "all")
    assert count.text == f"{every} lines"


# The images


def test_images_change_with_data_set_method_ipc_and_class(page):
    assert chosen(page) == ["digits", "M3D", "1", "stored", "all"]
    seen = [images(page)]
    for name, text in (
        ("dataset", "mnist"),
        ("method", "Random"),
        ("ipc", "4"),
        ("label", "2"),
    ):
        click(page, f"[data-choice={name}] button", text)
        seen.append(images(page))
    assert [len(shown) for shown in seen] == [3, 3, 3, 12, 4]
    assert len(set(map(tuple, seen))) == 5
    assert set(seen[4]) < set(seen[3])
    assert page.find_element("id", "shown").text == "mnist, Random, ipc 4, seed 0: 4 stored images"


def test_every_image_can_be_drawn(page):
    click(page, "[data-choice=ipc] button", "4")
    page.execute_script("return Promise.all([...document.images].map((i) => i.decode()))")
    widths = page.execute_script("return [...document.images].map((i) => i.naturalWidth)")
    assert min(widths) > 0


def decoded(page):
    """Pixels of what mosaics decode to, (n, h, w, 4)."""
    given = page.execute_async_script(
        """
        const done = arguments[0];
        const pixels = (c) => c.getContext("2d").getImageData(0, 0, c.width, c.height).data;
        const look = () => {
          const groups = [...document.querySelectorAll(".cells")];
          if (groups.some((group) => group.children.length === 0)) return setTimeout(look, 10);
          const cells = [...document.querySelectorAll(".cells canvas")];
          done(cells.map((c) => [c.height, c.width, [...pixels(c)]]));
        };
        look();
        """
    )
    return np.array([np.reshape(data, (h, w, 4)) for h, w, data in given])


@pytest.mark.parametrize(("dataset", "factor"), [("digits", 2), ("mnist", 3)])
def test_mosaics_are_decoded_as_the_condensed_set_decodes_them(page, results, dataset, factor):
    click(page, "[data-choice=dataset] button", dataset)
    click(page, "[data-choice=view] button", "decoded")
    shown = decoded(page)
    assert page.find_element("id", "shown").text.endswith(f", each decoded to {factor**2}")
    condensed = CondensedSet.load(results / "cells" / f"{dataset}-M3D-ipc1-seed0.npz")
    expected = to_bytes(condensed, decoded=True).astype(int)
    expected = expected.reshape(*expected.shape[:3], -1)  # grey has one channel for three
    assert (shown[..., 3] == 255).all()
    # Here from bytes, there before they were rounded, to X's own whole numbers first.
    assert np.abs(shown[..., :3] - expected).max() <= 2


def test_only_mosaics_have_a_decoded_view(page):
    click(page, "[data-choice=view] button", "decoded")
    assert (len(decoded(page)), images(page)) == (12, [])
    click(page, "[data-choice=view] button", "stored")
    assert len(images(page)) == 3
    click(page, "[data-choice=method] button", "Random")
    assert chosen(page) == ["digits", "Random", "1", "all"]


def test_classes_take_turns_by_the_keyboard_and_the_focus_stays(page):
    from selenium.webdriver.common.keys import Keys

    after = page.find_element("css selector", "[data-turn='1']")
    shown = []
    for _ in range(4):
        after.send_keys(Keys.ENTER)
        shown.append(chosen(page)[-1])
    assert shown == ["0", "1", "2", "all"]
    page.find_element("css selector", "[data-turn='-1']").send_keys(Keys.SPACE)
    assert chosen(page)[-1] == "2"
    (button,) = (
        b
        for b in page.find_elements("css selector", "[data-choice=dataset] button")
        if b.text == "mnist"
    )
    button.send_keys(Keys.ENTER)
    assert chosen(page)[0] == "mnist"
    assert page.switch_to.active_element == button


# The page


def test_a_command_is_selected_and_copied(page):
    page.find_element("css selector", "#commands summary").click()
    button = page.find_element("css selector", "[data-copy]")
    page.execute_script("arguments[0].scrollIntoView({block: 'center'})", button)
    button.click()
    selected = page.execute_script("return getSelection().toString().trim()")
    assert selected == "python -m m3d_sklearn compare --datasets digits --out FOLDER"
    assert button.text in ("copied", "selected")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_scrolls_the_table_and_not_the_page(page, scheme, tmp_path):
    from PIL import Image

    size = {"width": 360, "height": 740, "deviceScaleFactor": 1, "mobile": True}
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    try:
        for details in page.find_elements("css selector", "details"):
            page.execute_script("arguments[0].open = true", details)
        assert page.execute_script("return document.documentElement.scrollWidth") <= 360
        table = page.find_element("css selector", "#table .scroll")
        assert page.execute_script("return arguments[0].scrollWidth", table) > 360
        picture = tmp_path / f"{scheme}.png"
        assert page.save_screenshot(str(picture))
    finally:
        page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    grey = Image.open(picture).convert("L")
    assert grey.getpixel((1, 1)) > 200 if scheme == "light" else grey.getpixel((1, 1)) < 50
    assert len(grey.getcolors()) > 20


def test_nothing_is_asked_of_the_network(page):
    loaded = page.execute_script(
        "return performance.getEntriesByType('resource').map((entry) => entry.name)"
    )
    assert [name for name in loaded if not name.startswith("data:")] == []
