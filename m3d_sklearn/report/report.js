"use strict";

document.documentElement.classList.add("js");

const find = (selector, root = document) => root.querySelector(selector);
const all = (selector, root = document) => [...root.querySelectorAll(selector)];

function make(name, properties = {}, ...children) {
  const element = Object.assign(document.createElement(name), properties);
  element.append(...children);
  return element;
}

/* The table: a click sorts, another turns the order. Cells without a value stay at the end. */

function compare(a, b, numeric) {
  return numeric ? a - b : a.localeCompare(b, undefined, { numeric: true });
}

function sortBy(header) {
  const up = header.getAttribute("aria-sort") !== "ascending";
  const numeric = header.dataset.kind === "number";
  const body = find("#lines tbody");
  const value = (row) => row.cells[header.cellIndex].dataset.value;
  const rows = all("tr", body).sort((a, b) => {
    const [first, second] = [value(a), value(b)];
    if (first === "" || second === "") return (first === "") - (second === "");
    return up ? compare(first, second, numeric) : compare(second, first, numeric);
  });
  body.append(...rows);
  find("#lines").classList.add("sorted"); // the rules between comparisons no longer part them
  for (const other of header.parentElement.cells) other.setAttribute("aria-sort", "none");
  header.setAttribute("aria-sort", up ? "ascending" : "descending");
}

function filterRows(selects) {
  const rows = all("#lines tbody tr");
  for (const row of rows) {
    row.hidden = selects.some((s) => s.value && row.dataset[s.dataset.filter] !== s.value);
  }
  const shown = rows.filter((row) => !row.hidden).length;
  find("#count").textContent =
    shown === rows.length ? `${shown} lines` : `${shown} of ${rows.length} lines`;
}

for (const button of all("#lines thead button")) {
  button.addEventListener("click", () => sortBy(button.closest("th")));
}
const selects = all("select[data-filter]");
for (const select of selects) select.addEventListener("change", () => filterRows(selects));

/* The images: what is chosen on one line decides what there is to choose on the next. */

const ALL = -1;
const sum = (numbers) => numbers.reduce((total, number) => total + number, 0);

/* Places of the classes that the page had room for. */
function withImages(album) {
  return [...album.classes.keys()].filter((place) => album.images[place].length);
}

/* Where the pixels of a longer side come from: two pixels of the shorter one, and their shares. */
function sources(from, to) {
  return Array.from({ length: to }, (_, place) => {
    const at = Math.min(Math.max(((place + 0.5) * from) / to - 0.5, 0), from - 1);
    const low = Math.floor(at);
    return [low, Math.min(low + 1, from - 1), at - low];
  });
}

/* Bilinear, as CondensedSet.decode has it; a canvas's own smoothing differs and lets neighbours in. */
function upSampled(small, width, height) {
  const large = new ImageData(width, height);
  const [rows, columns] = [sources(small.height, height), sources(small.width, width)];
  const pixel = (y, x, channel) => small.data[(y * small.width + x) * 4 + channel];
  rows.forEach(([top, bottom, down], y) => {
    columns.forEach(([left, right, across], x) => {
      for (let c = 0; c < 4; c++) {
        const above = pixel(top, left, c) * (1 - across) + pixel(top, right, c) * across;
        const below = pixel(bottom, left, c) * (1 - across) + pixel(bottom, right, c) * across;
        large.data[(y * width + x) * 4 + c] = above * (1 - down) + below * down;
      }
    });
  });
  return large;
}

/* A mosaic's cells, each as large as the mosaic. Where factor does not divide a side, the mosaic
   is padded with grey at the far edge. */
function decode(image, factor) {
  const { naturalWidth: width, naturalHeight: height } = image;
  const [w, h] = [Math.ceil(width / factor), Math.ceil(height / factor)];
  const padded = make("canvas", { width: w * factor, height: h * factor });
  const pen = padded.getContext("2d", { willReadFrequently: true });
  pen.fillStyle = "#808080";
  pen.fillRect(0, 0, padded.width, padded.height);
  pen.clearRect(0, 0, width, height);
  pen.drawImage(image, 0, 0);
  return Array.from({ length: factor ** 2 }, (_, cell) => {
    const [left, top] = [(cell % factor) * w, Math.floor(cell / factor) * h];
    const canvas = make("canvas", { width, height });
    const large = upSampled(pen.getImageData(left, top, w, h), width, height);
    canvas.getContext("2d").putImageData(large, 0, 0);
    return canvas;
  });
}

function decodedGroup(src, factor, alt) {
  const group = make("span", { className: "cells", role: "img", ariaLabel: `${alt}, decoded` });
  const image = make("img", { src });
  image.decode().then(() => group.append(...decode(image, factor)));
  return group;
}

class Gallery {
  constructor(root, albums) {
    this.root = root;
    this.albums = albums;
    this.chosen = { dataset: null, method: null, ipc: null, view: "stored", label: ALL };
    for (const button of all("[data-turn]", root)) {
      button.addEventListener("click", () => this.turn(Number(button.dataset.turn)));
    }
    this.show();
  }

  /* Pairs of a value and its name, for each line of buttons in turn. */
  options(name, albums) {
    if (name === "label") {
      return [[ALL, "all"], ...withImages(albums[0]).map((n) => [n, albums[0].classes[n]])];
    }
    if (name === "view") {
      return albums[0].factor > 1 ? [["stored", "stored"], ["decoded", "decoded"]] : [];
    }
    return [...new Set(albums.map((album) => album[name]))].map((value) => [value, String(value)]);
  }

  show() {
    let albums = this.albums;
    for (const line of all("[data-choice]", this.root)) {
      const name = line.dataset.choice;
      const options = this.options(name, albums);
      const values = options.map(([value]) => value);
      if (values.length && !values.includes(this.chosen[name])) {
        this.chosen[name] = values.at(name === "method" ? -1 : 0); // the plainest come first
      }
      line.hidden = values.length === 0;
      this.showButtons(find("[role=group]", line), name, options);
      if (name !== "label" && name !== "view") {
        albums = albums.filter((album) => album[name] === this.chosen[name]);
      }
    }
    this.showImages(albums[0]);
  }

  /* Buttons are made anew only where the choices differ, so that the focus stays. */
  showButtons(group, name, options) {
    const key = JSON.stringify(options);
    if (group.dataset.key !== key) {
      group.dataset.key = key;
      group.replaceChildren(
        ...options.map(([value, text]) => {
          const button = make("button", { type: "button", textContent: text });
          button.addEventListener("click", () => {
            this.chosen[name] = value;
            this.show();
          });
          return button;
        }),
      );
    }
    options.forEach(([value], place) => {
      group.children[place].setAttribute("aria-pressed", String(value === this.chosen[name]));
    });
  }

  showImages(album) {
    const decoded = this.chosen.view === "decoded" && album.factor > 1;
    const every = this.chosen.label === ALL;
    const places = every ? withImages(album) : [this.chosen.label];
    find("#strips").replaceChildren(...places.map((place) => this.strip(album, place, decoded)));
    const shown = sum(places.map((place) => album.images[place].length));
    const stored = every ? sum(album.counts) : album.counts[places[0]];
    const few = shown < stored ? `${shown} of ${stored}` : `${stored}`;
    const pieces = decoded ? `, each decoded to ${album.factor ** 2}` : "";
    find("#shown").textContent =
      `${album.dataset}, ${album.method}, ipc ${album.ipc}, seed ${album.seed}: ` +
      `${few} stored image${stored === 1 ? "" : "s"}${pieces}`;
  }

  strip(album, place, decoded) {
    const name = album.classes[place];
    const uris = album.images[place];
    const images = uris.map((src, number) => {
      const alt = `class ${name}, image ${number + 1} of ${uris.length}`;
      return decoded ? decodedGroup(src, album.factor, alt) : make("img", { src, alt });
    });
    return make(
      "figure",
      { className: "strip" },
      make("figcaption", { textContent: name }),
      make("div", {}, ...images),
    );
  }

  turn(step) {
    const group = find("[data-choice=label] [role=group]", this.root);
    const count = group.children.length;
    group.children[(this.chosen.label + 1 + step + count) % count].click();
  }
}

if (find("#albums")) new Gallery(find("#gallery"), JSON.parse(find("#albums").textContent));

/* Commands: selected, and copied where the browser lets a page without asking. */

for (const button of all("[data-copy]")) {
  button.addEventListener("click", () => {
    getSelection().selectAllChildren(button.nextElementSibling);
    button.textContent = document.execCommand("copy") ? "copied" : "selected";
  });
}
