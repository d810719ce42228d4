/* The HTML report's own parts. */
#include "common/page/asset.inc"

    asset report_html, "loadtest/report/html/report.html"
    asset report_css, "loadtest/report/html/report.css"
    asset report_js, "loadtest/report/html/report.js"

    .section .note.GNU-stack, "", %progbits
