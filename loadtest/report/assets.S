/*
 * The parts of the HTML report, and the page of `loadtest serve`, taken into the program byte for byte, so that it needs no file at run time. CHART_JS is
 * Chart.js as Debian packages it. Paths are those from the root of the repository, where make runs.
 */
    .section .rodata

    .macro asset name, path
    .global asset_\name
    .global asset_\name\()_end
asset_\name:
    .incbin "\path"
asset_\name\()_end:
    .endm

    asset report_html, "loadtest/report/report.html"
    asset report_css, "loadtest/report/report.css"
    asset charts_js, "loadtest/report/charts.js"
    asset report_js, "loadtest/report/report.js"
    asset chart_js, CHART_JS
    asset index_html, "loadtest/page/index.html"

    .section .note.GNU-stack, "", %progbits
