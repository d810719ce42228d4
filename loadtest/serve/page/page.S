/* The page of `loadtest serve`. */
#include "common/page/asset.inc"

    asset index_html, "loadtest/serve/page/index.html"

    .section .note.GNU-stack, "", %progbits
