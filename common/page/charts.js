"use strict";
/*
 * Draws figures with Chart.js: those over time share one axis and one crosshair. What a figure shows is described by a
 * plain object (a spec, see report.js); nothing in here knows a run.
 */
const charts = (() => {
  /* The same for every figure, so that a moment stands at the same place in all of a column. */
  const AXIS_WIDTH_PX = 58;
  const NONE = "–";
  const figures = [];
  let axis = null;

  Object.assign(Chart.defaults, { animation: false, events: [], responsive: true, maintainAspectRatio: false });

  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();

  /* A shade of a colour: 0 is the colour itself, then in turn lighter and darker ones. */
  function shade(color, step) {
    if (step === 0) return color;
    const towards = step % 2 ? 255 : 0;
    const part = Math.min(0.7, 0.25 * Math.ceil(step / 2) + 0.2);
    const channels = [1, 3, 5].map((at) => parseInt(color.slice(at, at + 2), 16));
    return `rgb(${channels.map((value) => Math.round(value + (towards - value) * part)).join(",")})`;
  }

  function colorOf(series) {
    return shade(css(series.color), series.shade || 0);
  }

  function hatch(color, stripe) {
    const tile = document.createElement("canvas");
    tile.width = tile.height = 6;
    const pen = tile.getContext("2d");
    pen.fillStyle = color;
    pen.fillRect(0, 0, 6, 6);
    pen.strokeStyle = stripe;
    pen.lineWidth = 1.5;
    for (const shift of [-6, 0, 6]) {
      pen.beginPath();
      pen.moveTo(shift, 6);
      pen.lineTo(shift + 6, 0);
      pen.stroke();
    }
    return pen.createPattern(tile, "repeat");
  }

  function formatSeconds(value) {
    if (axis.endS < 180) return `${+value.toFixed(2)} s`;
    const minutes = Math.floor(value / 60 + 1e-9);
    return `${minutes}:${String(Math.round(value - 60 * minutes)).padStart(2, "0")}`;
  }

  function momentOf(slot) {
    return `${+(slot * axis.slotS).toFixed(3)} to ${+((slot + 1) * axis.slotS).toFixed(3)} s`;
  }

  /* ---- datasets ------------------------------------------------------------------------------------------------ */

  /* Bars touch; where they are wide enough, a hair of the background tells one slot from the next. */
  function barThickness(context) {
    const x = context.chart.scales.x;
    if (!x) return 1;
    const px = x.getPixelForValue(axis.slotS) - x.getPixelForValue(0);
    return Math.max(1, px > 5 ? px - 0.75 : px + 0.4);
  }

  function pointsOf(series) {
    if (series.points) return series.points.map((point) => ({ x: point.x, y: point.y }));
    const values = series.drawn || series.values;
    const shift = series.kind === "step" ? 0 : axis.slotS / 2;
    const points = values.map((y, slot) => ({ x: slot * axis.slotS + shift, y: y === null ? NaN : y }));
    if (series.kind === "step" && points.length) points.push({ x: axis.endS, y: points[points.length - 1].y });
    return points;
  }

  /* A value between two gaps would be invisible as a line; a lower bound is a triangle. */
  function pointLooks(series, points) {
    const isThere = (at) => at >= 0 && at < points.length && !Number.isNaN(points[at].y);
    const bounds = series.points ? series.points.map((point) => point.isBound) : series.bounds || [];
    const marked = points.map((_, at) => Boolean(bounds[at]));
    const crowded = points.length > 150 || series.points;
    return {
      pointStyle: marked.map((bound) => (bound ? "triangle" : "circle")),
      pointRadius: marked.map((bound, at) => {
        if (bound) return crowded ? 3 : 4.5;
        return series.kind === "line" && isThere(at) && !isThere(at - 1) && !isThere(at + 1) ? 2.5 : 0;
      }),
    };
  }

  function datasetOf(series) {
    const data = pointsOf(series);
    const color = colorOf(series);
    const common = { label: series.label, data, borderColor: color,
      backgroundColor: series.hatched ? hatch(color, css("wrong-stripe")) : color };
    if (series.kind === "bar")
      return { ...common, type: "bar", stack: "bars", borderWidth: 0, inflateAmount: 0, barThickness, order: 10 };
    const looks = pointLooks(series, data);
    const isBound = (at) => looks.pointStyle[at] === "triangle";
    const isLoose = (part) => isBound(part.p0DataIndex) || isBound(part.p1DataIndex);
    return {
      ...common, ...looks, type: "line", stack: series.key, stepped: series.kind === "step", fill: false,
      borderWidth: series.width || 2, borderDash: series.dash || [], order: series.order || 1, spanGaps: false,
      pointBackgroundColor: css("card"), pointBorderColor: color,
      /* What leads to a lower bound is no measurement. */
      segment: { borderDash: (part) => (isLoose(part) ? [2, 4] : undefined),
        borderWidth: (part) => (isLoose(part) ? 1 : undefined) },
    };
  }

  /* Made anew whenever colours or axes change, since Chart.js keeps what it once resolved. */
  function paint(figure) {
    const { spec, canvas } = figure;
    const hidden = figure.chart ? spec.series.map((_, at) => !figure.chart.isDatasetVisible(at)) : [];
    if (figure.chart) figure.chart.destroy();
    const plugins = spec.xMax ? [] : [marks];
    if (spec.flags) plugins.push(flagsOf(spec));
    figure.chart = new Chart(canvas, {
      type: "line", plugins,
      data: { datasets: spec.series.map((series, at) => ({ ...datasetOf(series), hidden: Boolean(hidden[at]) })) },
      options: { parsing: false, scales: scalesOf(figure), layout: { padding: { right: 10, top: 2 } },
        plugins: { legend: { display: false }, tooltip: { enabled: false } } },
    });
    spec.series.forEach((series, at) => {
      figure.swatches[at].style.background = figure.swatches[at].style.borderColor = colorOf(series);
    });
  }

  /* ---- axes ---------------------------------------------------------------------------------------------------- */

  function ticksStyle() {
    return { color: css("quiet"), font: { size: 11 }, maxRotation: 0 };
  }

  function logTickShown(value, ticks) {
    const digit = Math.round(value / 10 ** Math.floor(Math.log10(value) + 1e-9));
    const isWide = ticks.length > 1 && ticks[ticks.length - 1].value > 900 * ticks[0].value;
    return digit === 1 || (!isWide && (digit === 2 || digit === 5));
  }

  function verticalScale(figure) {
    const { spec, isLog } = figure;
    const format = spec.format || ((value) => String(value));
    return {
      type: isLog ? "logarithmic" : "linear",
      stacked: spec.series.some((series) => series.kind === "bar"),
      beginAtZero: true,
      suggestedMax: isLog ? undefined : spec.suggestedMax,
      border: { display: false },
      grid: { color: css("grid"), drawBorder: false },
      ticks: {
        ...ticksStyle(), maxTicksLimit: isLog ? undefined : 6, precision: spec.whole ? 0 : undefined,
        callback: (value, _, all) => (isLog && !logTickShown(value, all) ? null : format(value)),
      },
      afterFit: (scale) => { scale.width = AXIS_WIDTH_PX; },
    };
  }

  function timeScale() {
    return {
      type: "linear", min: 0, max: axis.endS, offset: false, grid: { color: css("grid"), offset: false },
      ticks: { ...ticksStyle(), maxTicksLimit: 13, includeBounds: false, align: "inner", callback: formatSeconds },
    };
  }

  /* Log axis of 1 / (1 - percentile), labelled by the percentiles. */
  function percentileScale(spec) {
    const labels = [[1, "0%"], [2, "50%"], [4, "75%"], [10, "90%"], [100, "99%"], [1e3, "99.9%"], [1e4, "99.99%"],
      [1e5, "99.999%"], [1e6, "99.9999%"], [1e7, "99.99999%"]].filter(([value]) => value <= spec.xMax * 1.0001);
    return {
      type: "logarithmic", min: 1, max: spec.xMax, grid: { color: css("grid") },
      afterBuildTicks: (scale) => { scale.ticks = labels.map(([value]) => ({ value })); },
      ticks: { ...ticksStyle(), autoSkip: false, callback: (value) => (labels.find(([at]) => at === value) || [])[1] },
    };
  }

  function scalesOf(figure) {
    const x = figure.spec.xMax ? percentileScale(figure.spec) : timeScale();
    return { x, y: verticalScale(figure) };
  }

  /* ---- marks in every figure over time ------------------------------------------------------------------------- */

  const marks = {
    id: "marks",
    beforeDatasetsDraw(chart) {
      const { ctx, chartArea: area, scales: { x } } = chart;
      ctx.save();
      ctx.fillStyle = css("down");
      for (const [from, to] of axis.down)
        ctx.fillRect(x.getPixelForValue(from), area.top, x.getPixelForValue(to) - x.getPixelForValue(from), area.height);
      ctx.restore();
    },
    afterDatasetsDraw(chart) {
      const { ctx, chartArea: area, scales: { x } } = chart;
      ctx.save();
      ctx.strokeStyle = css("restart");
      ctx.lineWidth = 1.5;
      ctx.setLineDash([5, 4]);
      for (const at of axis.restarts) {
        ctx.beginPath();
        ctx.moveTo(x.getPixelForValue(at), area.top);
        ctx.lineTo(x.getPixelForValue(at), area.bottom);
        ctx.stroke();
      }
      ctx.restore();
    },
  };

  /* One wrong answer among a thousand is less than a pixel of its bar, so each such slot has a flag at the top. */
  function flagsOf(spec) {
    return {
      id: "flags",
      afterDatasetsDraw(chart) {
        const { ctx, chartArea: area, scales: { x } } = chart;
        ctx.save();
        ctx.fillStyle = css("wrong");
        spec.flags.forEach((flag, slot) => {
          if (!flag) return;
          const middle = x.getPixelForValue((slot + 0.5) * axis.slotS);
          ctx.beginPath();
          ctx.moveTo(middle - 5, area.top);
          ctx.lineTo(middle + 5, area.top);
          ctx.lineTo(middle, area.top + 9);
          ctx.fill();
        });
        ctx.restore();
      },
    };
  }

  /* ---- reading values ------------------------------------------------------------------------------------------ */

  function say(figure, moment, values) {
    figure.moment.textContent = moment;
    figure.values.forEach((span, at) => { span.textContent = values[at]; });
  }

  function rest(figure) {
    figure.crosshair.hidden = true;
    say(figure, "", figure.spec.series.map((series) => series.total || ""));
  }

  function place(figure, xValue) {
    const { chartArea: area, scales: { x } } = figure.chart;
    Object.assign(figure.crosshair.style,
      { left: `${x.getPixelForValue(xValue)}px`, top: `${area.top}px`, height: `${area.height}px` });
    figure.crosshair.hidden = false;
  }

  function valueText(spec, series, value, isBound) {
    if (value === null || value === undefined) return NONE;
    return (isBound ? "≥\u00a0" : "") + (spec.format || String)(value);
  }

  function showSlot(slot) {
    axis.slot = slot;
    for (const figure of figures.filter(({ spec }) => !spec.xMax)) {
      place(figure, (slot + 0.5) * axis.slotS);
      say(figure, momentOf(slot), figure.spec.series.map((series) =>
        valueText(figure.spec, series, (series.drawn || series.values)[slot], series.bounds && series.bounds[slot])));
    }
  }

  function showPercentile(figure, xValue) {
    place(figure, xValue);
    say(figure, `${(100 * (1 - 1 / xValue)).toPrecision(5)} %`, figure.spec.series.map((series) => {
      const point = series.points.find(({ x }) => x >= xValue) || series.points[series.points.length - 1];
      return valueText(figure.spec, series, point.y, point.isBound);
    }));
  }

  function leave() {
    axis.slot = null;
    figures.forEach(rest);
  }

  function listen(figure, plot) {
    plot.addEventListener("pointermove", (event) => {
      const { x } = figure.chart.scales;
      const px = event.clientX - plot.getBoundingClientRect().left;
      const value = x.getValueForPixel(Math.min(Math.max(px, x.left), x.right));
      if (figure.spec.xMax) showPercentile(figure, Math.min(Math.max(value, 1), figure.spec.xMax));
      else showSlot(Math.min(Math.max(Math.floor(value / axis.slotS), 0), axis.slots - 1));
    });
    plot.addEventListener("pointerleave", leave);
    plot.addEventListener("blur", leave);
    plot.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!step || figure.spec.xMax) return;
      event.preventDefault();
      const slot = axis.slot === null ? (step > 0 ? 0 : axis.slots - 1) : axis.slot + step;
      showSlot(Math.min(Math.max(slot, 0), axis.slots - 1));
    });
  }

  /* ---- figures ------------------------------------------------------------------------------------------------- */

  function legendItem(figure, series, at) {
    const item = document.createElement("li");
    const button = document.createElement("button");
    const swatch = document.createElement("span");
    const value = document.createElement("b");
    const looks = [["stroke", series.kind !== "bar"], ["hatched", series.hatched],
      ["dotted", series.dash && series.dash[0] < 3], ["dashed", series.dash && series.dash[0] >= 3]];
    swatch.className = ["swatch", ...looks.filter(([, is]) => is).map(([name]) => name)].join(" ");
    button.type = "button";
    button.setAttribute("aria-pressed", "true");
    button.append(swatch, series.label + " ", value);
    button.addEventListener("click", () => {
      const visible = !figure.chart.isDatasetVisible(at);
      figure.chart.setDatasetVisibility(at, visible);
      button.setAttribute("aria-pressed", String(visible));
      figure.chart.update("none");
    });
    item.append(button);
    figure.swatches.push(swatch);
    figure.values.push(value);
    return item;
  }

  function tableOf(spec) {
    const table = document.createElement("table");
    const head = table.createTHead().insertRow();
    const header = (row, text, scope) => {
      const cell = document.createElement("th");
      cell.textContent = text;
      cell.scope = scope;
      row.append(cell);
    };
    ["seconds", ...spec.series.map((series) => series.label)].forEach((text) => header(head, text, "col"));
    const body = table.createTBody();
    for (let slot = 0; slot < axis.slots; slot++) {
      const row = body.insertRow();
      header(row, momentOf(slot), "row");
      for (const series of spec.series)
        row.insertCell().textContent =
          valueText(spec, series, series.values[slot], series.bounds && series.bounds[slot]);
    }
    return table;
  }

  function wireTable(root, spec) {
    const details = root.querySelector("details");
    if (spec.xMax) {
      details.remove();
      return;
    }
    details.addEventListener("toggle", () => {
      const place_ = details.querySelector("div");
      if (details.open && !place_.firstChild) place_.append(tableOf(spec));
    });
  }

  function wireLog(figure, root) {
    if (figure.spec.log === undefined) return;
    const label = root.querySelector("label.log");
    const box = label.querySelector("input");
    label.hidden = false;
    box.checked = figure.isLog;
    box.addEventListener("change", () => {
      figure.isLog = box.checked;
      paint(figure);
    });
  }

  function draw(parent, spec) {
    const root = document.getElementById("figure").content.firstElementChild.cloneNode(true);
    const canvas = root.querySelector("canvas");
    const plot = root.querySelector(".plot");
    parent.append(root);
    root.classList.toggle("tall", Boolean(spec.tall));
    root.querySelector("h3").textContent = spec.title;
    root.querySelector(".unit").textContent = spec.unit;
    canvas.id = spec.id;
    canvas.setAttribute("aria-label", `${spec.title}. ${spec.text}`);
    plot.setAttribute("aria-label", spec.xMax ? spec.title : `${spec.title}: arrow keys go through time`);
    const figure = { spec, canvas, isLog: Boolean(spec.log), swatches: [], values: [],
      moment: root.querySelector(".moment"), crosshair: root.querySelector(".crosshair") };
    root.querySelector(".legend").append(...spec.series.map((series, at) => legendItem(figure, series, at)));
    figures.push(figure);
    paint(figure);
    rest(figure);
    listen(figure, plot);
    wireLog(figure, root);
    wireTable(root, spec);
  }

  function repaint() {
    figures.forEach(paint);
  }

  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaint);
  addEventListener("beforeprint", () => {
    document.documentElement.classList.add("printing");
    repaint();
  });
  addEventListener("afterprint", () => {
    document.documentElement.classList.remove("printing");
    repaint();
  });

  return {
    /* What all figures over time share: {slotS, slots, endS, restarts: [s], down: [[from_s, to_s]]}. */
    setAxis(shared) {
      axis = { slot: null, ...shared };
    },
    draw,
  };
})();
