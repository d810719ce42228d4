/* The pages of `drill serve`. */
#include "common/page/asset.inc"

    asset people_html, "drill/serve/page/people.html"
    asset facilitator_html, "drill/serve/page/facilitator.html"

    .section .note.GNU-stack, "", %progbits
