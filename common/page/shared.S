/* What every page uses. CHART_JS is Chart.js as Debian packages it. */
#include "common/page/asset.inc"

    asset charts_js, "common/page/charts.js"
    asset chart_js, CHART_JS

    .section .note.GNU-stack, "", %progbits
