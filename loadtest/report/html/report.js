"use strict";
/*
 * Fills the page from the run's JSON (docs/load-testing.md says what is in it). Everything that came from outside is set
 * as text, never as HTML.
 */
(() => {
  const result = JSON.parse(document.getElementById("result").textContent);
  const { run, verdict, ledger, series, errors } = result;
  const timeoutMs = run.timeout_s * 1000;
  const ERRORS_DRAWN = 7;
  const NONE = "–";

  /* [key, label, whether it counts as answered] of each outcome: the load tester's own table. A run that is older than
     an outcome lacks it. What is wrong stands last, on top of a stack of bars. */
  const known = JSON.parse(document.getElementById("known-outcomes").textContent).filter(([key]) => key in ledger);
  const OUTCOMES = [...known.filter(([key]) => key !== "wrong"), ...known.filter(([key]) => key === "wrong")];
  const UNANSWERED = OUTCOMES.filter(([, , answered]) => !answered).map(([key]) => key);

  const byId = (id) => document.getElementById(id);
  const sum = (values) => values.reduce((total, value) => total + value, 0);
  const peak = (values) => values.reduce((most, value) => (value !== null && value > most ? value : most), 0);

  /* ---- words --------------------------------------------------------------------------------------------------- */

  const count = (value) => (value === null || value === undefined ? NONE : value.toLocaleString("en-US"));
  const brief = (value) => String(+value.toPrecision(4));

  function percent(part, whole) {
    if (!whole) return NONE;
    const share = (100 * part) / whole;
    if (share > 0 && share < 0.1) return `${share.toPrecision(2)}\u00a0%`;
    return `${share.toFixed(share > 99 && share < 100 ? 3 : 1)}\u00a0%`;
  }

  function latency(ms) {
    if (ms === null || ms === undefined) return NONE;
    if (ms === 0) return "0\u00a0ms";
    if (ms < 1) return `${Math.round(ms * 1000)}\u00a0µs`;
    if (ms < 10) return `${ms.toFixed(2)}\u00a0ms`;
    if (ms < 999.5) return `${Math.round(ms)}\u00a0ms`;
    return `${(ms / 1000).toFixed(2)}\u00a0s`;
  }

  /* For an axis, whose figures are round. */
  const latencyTick = (ms) => (ms === 0 ? "0" : ms < 1 ? `${+(ms * 1000).toFixed(3)}\u00a0µs` : ms < 1000 ? `${+ms.toFixed(3)}\u00a0ms`
    : `${+(ms / 1000).toFixed(3)}\u00a0s`);

  function latencyOf(which, key) {
    const latencies = result.latency_ms[which];
    return (latencies.at_least.includes(key) ? "≥\u00a0" : "") + (latencies.count ? latency(latencies[key]) : NONE);
  }

  function stageText(stage) {
    const rate = stage.from === stage.to ? brief(stage.from) : `${brief(stage.from)} to ${brief(stage.to)}`;
    return `${rate} requests/s for ${brief(stage.duration_s)} s`;
  }

  /* ---- tables -------------------------------------------------------------------------------------------------- */

  /* Fills a cell: text, or an element. */
  function cell(tag, content, className) {
    const element = document.createElement(tag);
    element.append(content);
    if (className) element.className = className;
    return element;
  }

  /* columns: [title, class]. rows: {cells, className}; a row's first cell is its header. */
  function table(caption, columns, rows) {
    const element = document.createElement("table");
    if (caption) element.append(cell("caption", caption));
    if (columns.some(([title]) => title)) {
      const head = element.createTHead().insertRow();
      for (const [title, className] of columns) {
        const header = cell("th", title, className);
        header.scope = "col";
        head.append(header);
      }
    }
    const body = element.createTBody();
    for (const { cells, className } of rows) {
      const row = body.insertRow();
      if (className) row.className = className;
      cells.forEach((content, at) => {
        const item = cell(at === 0 ? "th" : "td", content, columns[at][1]);
        if (at === 0) item.scope = "row";
        row.append(item);
      });
    }
    return element;
  }

  function swatch(key) {
    const element = cell("span", "", key === "wrong" ? "swatch hatched" : "swatch");
    element.style.background = `var(--${key})`;
    return element;
  }

  function labelled(key, label) {
    const fragment = document.createDocumentFragment();
    fragment.append(swatch(key), label);
    return fragment;
  }

  function shareBar(key, part, whole) {
    const element = cell("span", "", "bar");
    element.style.background = `var(--${key})`;
    element.style.width = part ? `${(100 * part) / whole}%` : "0";
    element.style.minWidth = part ? "2px" : "0";
    return element;
  }

  /* ---- the top of the page ------------------------------------------------------------------------------------- */

  function showVerdict() {
    const how = run.check === "feed" ? "right" : "well";
    const share = ledger.scheduled ? ` (${percent(ledger.ok, ledger.scheduled)})` : "";
    const line = `${verdict.status}: ${count(ledger.ok)} of ${count(ledger.scheduled)} requests were answered ${how}${share}`;
    byId("verdict-band").classList.add(verdict.status);
    byId("verdict").textContent = line;
    document.title = `${verdict.status}: ${percent(ledger.ok, ledger.scheduled)} ${how} – load test of ${run.url}`;
    const load = run.loop === "closed" ? `closed loop, ${count(run.closed)} callers for ${brief(run.duration_s)} s`
      : `open loop, ${run.arrivals} arrivals: ${run.stages.map(stageText).join(", ")}`;
    byId("what").textContent = `${run.url} · ${load} · ${new Date(run.started_at * 1000).toISOString().slice(0, 19)}Z`;
    byId("reasons").append(...verdict.reasons.map((reason) => cell("li", reason)));
    if (run.loop !== "closed") return;
    byId("closed-loop").hidden = false;
    byId("closed-loop").textContent = "Closed loop: each caller waited for its answer before it asked again, so the load fell " +
      "as the service slowed down. What callers who do not wait would have suffered is not in these latencies.";
  }

  function tile(name, value, more, isBad) {
    const item = cell("li", cell("div", name, "name"), isBad ? "bad" : "");
    item.append(cell("div", value, "value"), cell("div", more, "more"));
    return item;
  }

  function showTiles() {
    const service = result.service;
    const perSecond = (requests) => (run.elapsed_s > 0 ? brief(requests / run.elapsed_s) : NONE);
    const failed = ledger.scheduled - ledger.ok;
    const offered = run.loop === "closed" ? `of ${perSecond(ledger.attempts)} sent` : `of ${brief(run.rate)} offered`;
    const tiles = [
      tile("right answers", percent(ledger.ok, ledger.scheduled), `${count(failed)} of ${count(ledger.scheduled)} failed`,
        verdict.status === "FAIL" && failed > 0),
      tile("wrong answers, status 200", count(ledger.wrong), run.check === "feed" ? "every entry checked" : "bodies not checked",
        ledger.wrong > 0),
      tile("right per second", perSecond(ledger.ok), offered),
      tile("response p50", latencyOf("response", "p50"), `of right answers ${latencyOf("response_ok", "p50")}`),
      tile("response p99", latencyOf("response", "p99"), `of right answers ${latencyOf("response_ok", "p99")}`),
    ];
    if (service) {
      tiles.push(tile("crashes", count(result.crashes), service.down_at_end ? "down at the end" : "of the service's process",
        result.crashes > 0 || service.down_at_end));
      tiles.push(tile("waiters at worst", count(service.pool_pending_peak),
        `${count(service.pool_used_peak)} of ${count(service.pool_max)} connections used`, service.checkout_timeouts > 0));
    } else {
      tiles.push(tile("crashes", NONE, "nobody looked (--admin-url)"));
    }
    byId("tiles").append(...tiles);
  }

  /* ---- charts over time ---------------------------------------------------------------------------------------- */

  const looks = series.map((slot) => slot.service);

  function findMarks() {
    const restarts = [];
    const down = [];
    let seen = 0;
    looks.forEach((look, slot) => {
      if (!look) return;
      if (look.restarts > seen) restarts.push((slot + 0.5) * run.slot_s);
      seen = Math.max(seen, look.restarts);
      if (!look.up) down.push([slot * run.slot_s, (slot + 1) * run.slot_s]);
    });
    return { restarts, down };
  }

  function showMarksKey({ restarts, down }) {
    const parts = [];
    if (restarts.length) parts.push(cell("span", "", "key-restart"), " a new process of the service was first seen   ");
    if (down.length) parts.push(cell("span", "", "key-down"), " /metrics did not answer ");
    byId("marks-key").append(...parts);
  }

  function drawOutcomes(place) {
    const valuesOf = (key) => series.map((slot) => slot.outcomes[key]);
    const seen = OUTCOMES.filter(([key]) => key === "ok" || ledger[key] > 0);
    const bars = seen.map(([key, label]) => ({ key, label, kind: "bar", color: key, values: valuesOf(key),
      total: count(ledger[key]), hatched: key === "wrong" }));
    const due = { key: "due", label: "due", kind: "step", color: "text", width: 1.5, values: series.map((slot) => slot.scheduled),
      total: count(ledger.scheduled) };
    const highest = peak(series.map((slot) => sum(OUTCOMES.map(([key]) => slot.outcomes[key]))));
    charts.draw(place, { id: "outcomes", title: "How requests ended", unit: `requests per ${run.slot_s} s`, whole: true, tall: true,
      series: [...bars, due], suggestedMax: 1.1 * highest, flags: ledger.wrong > 0 ? series.map((slot) => slot.outcomes.wrong > 0) : undefined,
      text: `${bars.map((bar) => `${bar.label} ${bar.total}`).join(", ")}, of ${count(ledger.scheduled)} due.` });
  }

  function errorLabel(row, length) {
    const codes = [row.http_status || "", row.ecode || ""].filter(String).join("/");
    const message = [...(row.message || row.outcome)];
    const cut = message.length > length ? message.slice(0, length - 1).join("") + "…" : message.join("");
    return codes ? `${codes}: ${cut}` : cut;
  }

  function drawErrors(place) {
    const ofOutcome = {};
    const rows = errors.slice(0, ERRORS_DRAWN);
    const rest = errors.slice(ERRORS_DRAWN);
    const bars = rows.map((row, at) => {
      const shade = (ofOutcome[row.outcome] = (ofOutcome[row.outcome] ?? -1) + 1);
      return { key: `error-${at}`, label: errorLabel(row, 64), kind: "bar", color: row.outcome, shade, values: row.over_time,
        total: count(row.count), hatched: row.outcome === "wrong" && shade === 0 };
    });
    if (rest.length)
      bars.push({ key: "others", label: `${rest.length} others`, kind: "bar", color: "other",
        values: series.map((_, slot) => sum(rest.map((row) => row.over_time[slot]))), total: count(sum(rest.map((row) => row.count))) });
    if (bars.length)
      charts.draw(place, { id: "errors-over-time", title: "Errors", unit: `per ${run.slot_s} s`, whole: true, series: bars,
        text: bars.map((bar) => `${bar.total} times ${bar.label}`).join(", ") + "." });
  }

  /* Unanswered requests stand at the end of their slot's order, so a rank among them is only a lower bound. One that was
     given up has waited less than the timeout, and may stand anywhere. */
  function isBound(slot, quantile) {
    const total = sum(OUTCOMES.map(([key]) => slot.outcomes[key]));
    const unanswered = sum(UNANSWERED.map((key) => slot.outcomes[key]));
    return slot.outcomes.in_flight_at_end > 0 || Math.max(1, Math.ceil(quantile * total - 1e-6)) > total - unanswered;
  }

  function responseLine(key, quantile, looks_) {
    const bounds = series.map((slot) => slot.response_ms !== null && isBound(slot, quantile));
    const values = series.map((slot, at) =>
      slot.response_ms && (bounds[at] ? Math.min(slot.response_ms[key], timeoutMs) : slot.response_ms[key]));
    return { key: `response-${key}`, label: `response ${key}`, kind: "line", color: "response", values, bounds,
      total: latencyOf("response", key), ...looks_ };
  }

  function serviceLine(key, looks_) {
    return { key: `service-${key}`, label: `service ${key}`, kind: "line", color: "service",
      values: series.map((slot) => slot.service_ms && slot.service_ms[key]), total: latencyOf("service", key), ...looks_ };
  }

  function drawLatencies(place) {
    const lines = [
      responseLine("p99", 0.99, { width: 3, order: 4 }),
      responseLine("p50", 0.5, { width: 1.5, dash: [2, 3], order: 3 }),
      serviceLine("p99", { width: 1.5, order: 2 }),
      serviceLine("p50", { width: 1.5, dash: [2, 3], order: 1 }),
    ];
    const values = lines.flatMap((line) => line.values).filter((value) => value > 0);
    if (!values.length) return;
    const unanswered = sum(UNANSWERED.map((key) => ledger[key]));
    const note = unanswered ? "; ▲ no answer, at least that long" : "";
    charts.draw(place, { id: "latency", title: "Latency", unit: `response: from when it was due; service: from the send${note}`,
      series: lines, format: latencyTick, log: Math.max(...values) > 10 * Math.min(...values), tall: true,
      text: `Over the whole run: ${lines.map((line) => `${line.label} ${line.total}`).join(", ")}.` });
  }

  /* A gauge holds between two looks; across a failed look, or a long time without one, nothing is known. */
  function held(values) {
    const slotsHeld = Math.ceil(1.5 / run.slot_s);
    let last = null;
    let age = 0;
    return values.map((value, slot) => {
      if (looks[slot]) {
        last = value;
        age = 0;
      } else if (++age > slotsHeld) {
        last = null;
      }
      return last;
    });
  }

  function gauge(key, label, kind, read, more) {
    const values = looks.map((look) => (look && look.up ? read(look) : null));
    return { key, label, kind, color: key, values, drawn: held(values), total: `peak ${count(peak(values))}`, ...more };
  }

  const wasSeen = (line) => line.values.some((value) => value !== null);

  function drawService(place) {
    const peaks = (lines) => `Peaks: ${lines.map((line) => `${line.label} ${count(peak(line.values))}`).join(", ")}.`;
    const pool = [
      gauge("used", "used", "bar", (look) => look.pool_used),
      gauge("idle", "idle", "bar", (look) => look.pool_idle),
      gauge("max", "max pool size", "line", (look) => look.pool_max, { total: count(result.service.pool_max), dash: [6, 4], width: 1.5 }),
      gauge("backends", "backends in the database", "line", (look) => look.backends, { width: 2.5 }),
    ].filter(wasSeen);
    const waiters = [gauge("pending", "waiters", "bar", (look) => look.pool_pending)].filter(wasSeen);
    const states = ["running", "query", "pool checkout", "WaitGroup wait", "map lock", "log lock", "idle"];
    const threads = states.map((state) => gauge(`thread-${state.replace(/ /g, "-")}`, state, "bar",
      (look) => look.threads[state])).filter((line) => peak(line.values) > 0);
    const draw = (id, title, unit, lines, more) => {
      if (lines.length) charts.draw(place, { id, title, unit, series: lines, whole: true, format: count, text: peaks(lines), ...more });
    };
    draw("pool", "Connections of the pool", "connections", pool, { tall: true, suggestedMax: 1.1 * peak(pool.flatMap((line) => line.values)) });
    draw("waiters", "Waiting for a connection", "threads", waiters);
    draw("threads", "Threads by what they do", "threads", threads, { tall: true });
  }

  /* ---- below the charts ---------------------------------------------------------------------------------------- */

  function showErrors() {
    const rows = errors.map((row) => ({ className: row.outcome === "wrong" ? "wrong-row" : "", cells: [
      labelled(row.outcome, OUTCOMES.find(([key]) => key === row.outcome)[1]), String(row.http_status || NONE), String(row.ecode || NONE),
      row.message || NONE, count(row.count), `${row.first_at_s.toFixed(2)} s`, cell("code", row.request_id || NONE)] }));
    if (result.errors_other > 0)
      rows.push({ cells: [labelled("other", "others"), NONE, NONE, "what found no row", count(result.errors_other), NONE, NONE] });
    byId("errors").append(rows.length ? table("", [["outcome"], ["HTTP", "number"], ["ecode", "number"], ["message", "words"],
      ["requests", "number"], ["first after", "number"], ["its request id"]], rows) : cell("p", "No errors.", "note"));
  }

  function showLedger() {
    const columns = [["outcome"], ["requests", "number"], ["share", "number"], ["", "share-bar"]];
    const row = ([key, label]) => ({
      className: ledger[key] === 0 ? "quiet" : key === "wrong" ? "wrong-row" : "",
      cells: [labelled(key, label), count(ledger[key]), percent(ledger[key], ledger.scheduled), shareBar(key, ledger[key], ledger.scheduled)],
    });
    const rows = OUTCOMES.map(row);
    rows.push({ className: "sum", cells: ["scheduled", count(ledger.scheduled), "", ""] });
    byId("ledger").append(table("Every scheduled request ended in exactly one way.", columns, rows));
    const sent = sum(OUTCOMES.filter(([key]) => key !== "dropped").map(([key]) => ledger[key]));
    const check = (name, left, right, words) => ({ cells: [name, count(left), words,
      cell("span", left === right ? "✓ balanced" : `✗ off by ${count(left - right)}`, left === right ? "yes" : "no")] });
    byId("sums").append(table("", [["the books"], ["", "number"], ["must be"], [""]], [
      check("scheduled", ledger.scheduled, ledger.sent + ledger.dropped, `= ${count(ledger.sent)} sent + ${count(ledger.dropped)} dropped`),
      check("sent", ledger.sent, sent, `= ${count(sent)}, the sum of the other outcomes`),
      check("attempts", ledger.attempts, ledger.sent + ledger.retries, `= ${count(ledger.sent)} sent + ${count(ledger.retries)} retries`),
      check("latencies", result.latency_ms.response.count, ledger.scheduled, `= ${count(ledger.scheduled)} scheduled`),
      { cells: ["all sums", "", "as the load tester added them", cell("span", ledger.balanced ? "✓ balanced" : "✗ NOT BALANCED",
        ledger.balanced ? "yes" : "no")] },
    ]));
    const defects = Object.entries(result.integrity).filter(([, value]) => value > 0);
    if (defects.length)
      byId("integrity").append(table("What was wrong in answers with status 200", [["entries (malformed: bodies)"], ["", "number"]],
        defects.map(([key, value]) => ({ className: "wrong-row", cells: [key, count(value)] }))));
  }

  function showLatencies() {
    const keys = ["p50", "p90", "p95", "p99", "p99_9", "max", "mean"];
    const rows = [
      ["response", "response, from when it was due: all"],
      ["response_ok", "… of the right answers alone"],
      ["service", "service, from the real send: answered ones"],
      ["first_byte", "… to the first byte"],
      ["connect", "connect, of new connections"],
      ["lag", "how late the load tester itself sent"],
    ].map(([which, label]) => ({ cells: [label, ...keys.map((key) => latencyOf(which, key)), count(result.latency_ms[which].count)] }));
    const titles = ["50%", "90%", "95%", "99%", "99.9%", "max", "mean", "count"];
    byId("latencies").append(table("", [["latency"], ...titles.map((title) => [title, "number"])], rows));
    if (result.latency_ms.response.at_least.length)
      byId("latency-note").textContent = `≥: a request without an answer stands at its timeout of ${brief(run.timeout_s)} s, ` +
        "or at its age when the run was stopped; that is all that is known of it.";
  }

  function drawSpectrum() {
    const most = Math.max(result.latency_ms.response.count, 2);
    const from = result.latency_ms.response.at_least_from_ms;
    const pointsOf = (steps, bound) => steps.map(([y, , , x]) => ({ x: x === null ? most : Math.min(x, most), y, isBound: bound(y) }))
      .filter(({ y }) => y > 0);
    const lines = [
      { key: "response", label: "response, all", width: 3, order: 2, total: `max ${latencyOf("response", "max")}`,
        points: pointsOf(result.spectrum.response, (y) => from !== null && y >= from) },
      { key: "service", label: "service, answered ones", width: 1.5, order: 1, total: `max ${latencyOf("service", "max")}`,
        points: pointsOf(result.spectrum.service, () => false) },
    ].filter((line) => line.points.length).map((line) => ({ kind: "line", color: line.key, ...line }));
    if (!lines.length) return;
    const values = lines.flatMap((line) => line.points.map(({ y }) => y));
    charts.draw(byId("spectrum-place"), { id: "spectrum", title: "Percentile spectrum", tall: true, xMax: most,
      unit: from === null ? "latency by percentile" : "latency by percentile. ▲ at least", series: lines, format: latencyTick,
      log: Math.max(...values) > 10 * Math.min(...values),
      text: ["response", "service"].map((which) => `${which}: 50% ${latencyOf(which, "p50")}, 99% ${latencyOf(which, "p99")}, max ${latencyOf(which, "max")}`).join("; ") + "." });
  }

  function showThresholds() {
    const rows = verdict.thresholds.map(({ text, kept, measured }) => ({ cells: [cell("code", text),
      cell("span", kept ? "✓ kept" : "✗ not kept", kept ? "yes" : "no"), measured] }));
    byId("thresholds").append(table("", [["threshold"], [""], ["measured"]], rows));
    const service = result.service;
    if (!service) return;
    const items = Object.entries(service.item_failures).map(([key, value]) =>
      ({ className: value ? "" : "quiet", cells: [`failed items: ${key.replace(/_/g, " ")}`, count(value)] }));
    const mean = service.use_time_count > 0 ? latency((1000 * service.use_time_sum_s) / service.use_time_count) : NONE;
    byId("service-totals").append(table("The service's own counters, over the run", [["counter"], ["", "number"]], [
      { cells: ["checkouts that timed out", count(service.checkout_timeouts)] },
      { cells: ["a connection was in use for, on average", mean] },
      ...items,
      { cells: ["threads at worst", count(service.threads_peak)] },
      { cells: ["looks at /metrics, and failed ones", `${count(service.samples)}, ${count(service.failed_samples)}`] },
    ]));
  }

  function showRun() {
    const lines = [
      ["url", run.url],
      ["started", `${new Date(run.started_at * 1000).toISOString().replace("T", " ").slice(0, 19)} UTC`],
      ["loop", run.loop === "closed" ? `closed, ${count(run.closed)} callers` : "open"],
      ["arrivals", run.loop === "closed" ? NONE : run.arrivals],
      ["stages", run.loop === "closed" ? NONE : run.stages.map(stageText).join(", ")],
      ["rate", run.loop === "closed" ? NONE : `${brief(run.rate)} requests/s, mean`],
      ["duration, and to the last end", `${brief(run.duration_s)} s, ${run.elapsed_s.toFixed(2)} s`],
      ["requests", run.requests === null ? NONE : count(run.requests)],
      ["seed", String(run.seed)],
      ["schedule hash", cell("code", run.schedule_hash)],
      ["check", run.check === "feed" ? `feed: each of ${count(run.items)} entries` : "status alone"],
      ["timeout", `${brief(run.timeout_s)} s`],
      ["retries", run.retries ? `${run.retries}, the first after ${brief(run.retry_backoff_s)} s` : "none"],
      ["max in flight", count(run.max_in_flight)],
      ["threads of the load tester", count(run.threads)],
      ["its CPU", `${run.cpu_s.toFixed(2)} s; busiest thread ${percent(run.busiest_thread, 1)} of a core`],
      ["build", run.build],
      ["machine", `${count(run.cpus)} CPUs, ${count(run.nofile)} descriptors`],
    ];
    byId("run").append(table("", [[""], ["", "words"]], lines.map((cells) => ({ cells }))));
  }

  /* ---- all of it ----------------------------------------------------------------------------------------------- */

  showVerdict();
  showTiles();
  const found = findMarks();
  charts.setAxis({ slotS: run.slot_s, slots: series.length, endS: Math.max(series.length, 1) * run.slot_s, ...found });
  showMarksKey(found);
  drawOutcomes(byId("client-side"));
  drawErrors(byId("client-side"));
  drawLatencies(byId("client-side"));
  if (result.service) drawService(byId("service-side"));
  else {
    byId("no-service").hidden = false;
    byId("over-time").classList.add("unwatched");
  }
  showErrors();
  showLedger();
  showLatencies();
  drawSpectrum();
  showThresholds();
  showRun();
})();
