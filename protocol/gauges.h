/* The instruments of a device. C and C++. SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_PROTOCOL_GAUGES_H
#define TD_PROTOCOL_GAUGES_H

enum td_gauge {
#define TD_GAUGE(NAME, name, meaning) TD_GAUGE_##NAME,
#include "protocol/gauges.def"
#undef TD_GAUGE
    TD_GAUGES
};

/* Below 0: the device does not tell. */
struct td_gauges {
    double shown[TD_GAUGES]; /* by enum td_gauge */
};

#endif
