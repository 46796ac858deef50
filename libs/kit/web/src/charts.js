"use strict";

// Small charts. Each function returns an SVG element, drawn for `width` in CSS pixels:
//   charts.sparkline({ width, title, values, max })   values may be null where nothing is known
//   charts.stackedBar({ width, title, parts })        parts: [{ name, value, className }]
//   charts.timeline({ width, title, from, to, lanes })
//                        lanes: [{ label, name, spans: [{ from, to, className, title }] }]
//   charts.place(container, draw)   shows draw(width) in the container, if it has changed
const charts = (() => {
  const SPARKLINE_HEIGHT = 48;
  const BAR_HEIGHT = 20;
  const MIN_PART = 3;
  const LANE_HEIGHT = 16;
  const AXIS_HEIGHT = 18;
  const LABEL_WIDTH = 64;

  function svg(name, attributes, ...children) {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...children);
    return made;
  }

  function rect(x, y, width, height, className, ...children) {
    return svg("rect", { x: x.toFixed(1), y, width: width.toFixed(1), height, class: className }, ...children);
  }

  // The description says in words what the marks show.
  function figure(width, height, title, description, marks) {
    const attributes = { class: "chart", role: "img", width, height, viewBox: `0 0 ${width} ${height}` };
    return svg("svg", attributes, svg("title", {}, title), svg("desc", {}, description), ...marks);
  }

  // Runs of neighbouring known values, as points.
  function runs(values, place) {
    const found = [[]];
    values.forEach((value, index) => {
      if (value === null) found.push([]);
      else found.at(-1).push(place(value, index));
    });
    return found.filter((run) => run.length > 0);
  }

  function sparkline({ width, title, values, max }) {
    const [inset, floor] = [3, SPARKLINE_HEIGHT - 3];
    const step = (width - 2 * inset) / Math.max(values.length - 1, 1);
    const place = (value, index) => [inset + index * step, floor - (value / (max || 1)) * (floor - inset)];
    const path = (points) => points.map(([x, y]) => `${x.toFixed(1)} ${y.toFixed(1)}`).join("L");
    const marks = [svg("path", { d: `M${inset} ${floor}H${width - inset}`, class: "axis" })];
    for (const run of runs(values, place)) {
      const area = `M${path(run)}L${run.at(-1)[0].toFixed(1)} ${floor}L${run[0][0].toFixed(1)} ${floor}Z`;
      marks.push(svg("path", { d: area, class: "area" }), svg("path", { d: `M${path(run)}`, class: "line" }));
    }
    const known = values.filter((value) => value !== null);
    if (values.at(-1) !== null && known.length > 0) {
      const [cx, cy] = place(values.at(-1), values.length - 1);
      marks.push(svg("circle", { cx: cx.toFixed(1), cy: cy.toFixed(1), r: 2.5, class: "point" }));
    }
    const range = `from ${Math.min(...known).toFixed(1)} to ${Math.max(...known).toFixed(1)}`;
    return figure(width, SPARKLINE_HEIGHT, title, known.length > 0 ? range : "no values yet", marks);
  }

  // Parts that are not empty stay visible, however small.
  function stackedBar({ width, title, parts }) {
    const shown = parts.filter(({ value }) => value > 0);
    const total = shown.reduce((sum, { value }) => sum + value, 0);
    const room = Math.max(width - shown.length * MIN_PART, 0);
    const marks = [rect(0, 0, width, BAR_HEIGHT, "empty")];
    let x = 0;
    for (const { name, value, className } of shown) {
      const wide = MIN_PART + (room * value) / total;
      // A gap between neighbours tells them apart without colours.
      marks.push(rect(x, 0, Math.max(wide - 1, 1), BAR_HEIGHT, className, svg("title", {}, `${name}: ${value}`)));
      x += wide;
    }
    const words = shown.map(({ name, value }) => `${name}: ${value}`).join(", ");
    return figure(width, BAR_HEIGHT, title, words || "nothing", marks);
  }

  // 1, 2 or 5 times a power of ten, in milliseconds, for at most `count` ticks.
  function tickStep(length, count) {
    const power = 10 ** Math.floor(Math.log10(length / count));
    return [1, 2, 5, 10].map((factor) => factor * power).find((step) => length / step <= count);
  }

  function timeline({ width, title, from, to, lanes }) {
    const room = width - LABEL_WIDTH;
    const height = lanes.length * LANE_HEIGHT + AXIS_HEIGHT;
    const place = (time) => LABEL_WIDTH + ((Math.min(Math.max(time, from), to) - from) / (to - from)) * room;
    const marks = [];
    const step = tickStep(to - from, room / 80);
    for (let back = 0; back < to - from; back += step) {
      const x = place(to - back).toFixed(1);
      marks.push(svg("path", { d: `M${x} 0V${height - AXIS_HEIGHT}`, class: "axis" }));
      const anchor = back === 0 ? "end" : "middle";
      const text = back === 0 ? "now" : `−${back / 1000} s`;
      marks.push(svg("text", { x, y: height - 4, "text-anchor": anchor }, text));
    }
    lanes.forEach(({ label, spans }, index) => {
      const y = index * LANE_HEIGHT;
      marks.push(svg("text", { x: 0, y: y + LANE_HEIGHT - 5 }, label));
      for (const span of spans.filter((span) => span.to >= from && span.from <= to)) {
        const [start, end] = [place(span.from), place(span.to)];
        const bar = rect(start, y + 2, Math.max(end - start, 2), LANE_HEIGHT - 4, span.className);
        bar.append(svg("title", {}, span.title));
        marks.push(bar);
      }
    });
    const words = lanes.map(({ name, spans }) => `${name}: ${spans.map((span) => span.title).join(", ")}`).join("; ");
    return figure(width, height, title, words || "nothing", marks);
  }

  // An unchanged chart is not replaced, so that its tooltip stays.
  function place(container, draw) {
    if (container.clientWidth === 0) return;
    const chart = draw(container.clientWidth);
    if (!container.firstChild?.isEqualNode(chart)) container.replaceChildren(chart);
  }

  return { place, sparkline, stackedBar, timeline };
})();
