// Steps through the lives that lives.py embeds in the page. Texts of the run are only ever set as text, never as HTML.
"use strict";
(() => {
  const box = document.getElementById("replay");
  const { actions, vitals, signs, lives } = JSON.parse(document.getElementById("replay-data").textContent);
  const at = (name) => document.getElementById(`replay-${name}`);
  const colours = new Map(signs.map(([mark, , colour]) => [mark, colour]));
  const calm = window.matchMedia("(prefers-reduced-motion: reduce)");
  const CHART = { width: 1000, height: 200 };
  let life, moments, step, timer;

  function element(tag, properties = {}, children = []) {
    const made = Object.assign(document.createElement(tag), properties);
    made.append(...children);
    return made;
  }

  // A map is whole in the first moment, then [place, mark, place, mark, ...] of what has changed.
  function unfold(given) {
    let cells = [];
    return given.moments.map(([observation, action, chances, state, map]) => {
      if (typeof map === "string") cells = [...map];
      else {
        cells = cells.slice();
        for (let i = 0; i < map.length; i += 2) cells[map[i]] = map[i + 1];
      }
      return { observation, action, chances, state, cells };
    });
  }

  function bars(table, names, values, { chosen = -1, coloured = false } = {}) {
    const rows = names.map((name, i) => {
      const percent = `${Math.round(100 * values[i])}%`;
      const fill = element("span", { className: "fill" });
      fill.style.width = percent;
      if (coloured) fill.style.background = `var(--series-${1 + (i % 8)})`;
      const track = element("td", { className: "track" }, [fill]);
      track.setAttribute("aria-hidden", "true");
      const done = i === chosen ? [element("span", { className: "unseen", textContent: " (done)" })] : [];
      const head = element("th", { scope: "row" }, [name, ...done]);
      return element("tr", { className: i === chosen ? "main" : "" }, [
        head, track, element("td", { className: "number", textContent: percent }),
      ]);
    });
    table.tBodies[0].replaceChildren(...rows);
  }

  function drawMap(cells) {
    const width = cells.indexOf("\n") < 0 ? cells.length : cells.indexOf("\n");
    const map = at("map");
    map.style.setProperty("--columns", width);
    map.replaceChildren(...cells.filter((mark) => mark !== "\n").map((mark) =>
      element("span", { className: `cell shade-${colours.get(mark) ?? "ink"}`, textContent: mark })));
    const mine = cells.indexOf(signs[0]?.[0]);
    const [row, column] = [Math.floor(mine / (width + 1)) + 1, (mine % (width + 1)) + 1];
    map.setAttribute("aria-label", mine < 0 ? "Map" : `Map: ${signs[0][1]} in row ${row}, column ${column}`);
  }

  function drawChart() {
    const last = Math.max(1, moments.length - 1);
    const shape = (tag, properties) => {
      const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
      for (const [name, value] of Object.entries(properties)) made.setAttribute(name, value);
      return made;
    };
    const lines = vitals.map((_, i) => shape("polyline", {
      points: moments.map(({ state }, x) => `${(CHART.width * x) / last},${CHART.height * (1 - state[i])}`).join(" "),
      style: `stroke: var(--series-${1 + (i % 8)})`,
    }));
    const cursor = shape("line", { id: "replay-cursor", y1: 0, y2: CHART.height });
    at("chart").replaceChildren(...lines, cursor);
  }

  function show(number) {
    step = Math.max(0, Math.min(moments.length - 1, number));
    const { observation, action, chances, state, cells } = moments[step];
    const over = action < 0;
    at("step").value = step;
    const what = over ? life.end : `${actions[action]} (${Math.round(100 * chances[action])}%)`;
    const told = `Step ${life.first + step} of ${life.first + moments.length - 1}: ${what}`;
    at("where").textContent = told;
    at("step").setAttribute("aria-valuetext", told);
    at("read").textContent = observation;
    bars(at("chances"), actions, over ? actions.map(() => 0) : chances, { chosen: action });
    bars(at("vitals"), vitals, state, { coloured: true });
    if (signs.length) drawMap(cells);
    const x = (CHART.width * step) / Math.max(1, moments.length - 1);
    for (const end of ["x1", "x2"]) at("cursor").setAttribute(end, x);
    if (step === moments.length - 1) pause();
  }

  function choose(number) {
    pause();
    life = lives[number];
    moments = unfold(life);
    at("facts").textContent = life.facts;
    at("strategy").textContent = life.strategy;
    at("step").max = moments.length - 1;
    drawChart();
    show(0);
  }

  function pause() {
    clearInterval(timer);
    timer = undefined;
    at("play").textContent = "Play";
    at("where").setAttribute("aria-live", "polite");
  }

  function play() {
    if (timer !== undefined) return pause();
    if (step === moments.length - 1) show(0);
    at("where").setAttribute("aria-live", "off"); // a screen reader could not keep up
    at("play").textContent = "Pause";
    timer = setInterval(() => show(step + 1), calm.matches ? 1500 : 300);
  }

  function move(number) {
    pause();
    show(number);
  }

  const go = {
    first: () => move(0),
    back: () => move(step - 1),
    play,
    next: () => move(step + 1),
    last: () => move(moments.length - 1),
  };
  const keys = { Home: "first", ArrowLeft: "back", " ": "play", ArrowRight: "next", End: "last" };
  for (const [name, act] of Object.entries(go)) at(name).addEventListener("click", act);
  at("life").addEventListener("change", (event) => choose(Number(event.target.value)));
  at("step").addEventListener("input", (event) => move(Number(event.target.value)));
  box.addEventListener("keydown", (event) => {
    const plain = !(event.altKey || event.ctrlKey || event.metaKey || event.shiftKey);
    const own = event.target.matches("select") || (event.key === " " && event.target.matches("button"));
    if (!plain || own || !(event.key in keys)) return;
    event.preventDefault();
    go[keys[event.key]]();
  });
  choose(0);
  box.hidden = false;
})();
