/* What a black box has recorded, printed. SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_CLIENT_CLI_BLACKBOX_H
#define TD_CLIENT_CLI_BLACKBOX_H

#include <stdio.h>

#include "client/cli/observe.h"
#include "client/cli/tensorctl.h"

/* The chosen life of an observation as options say, into out. Whatever stands in the box, it ends. */
void blackbox_print(FILE *out, const struct observation *observation, const struct observed_life *life,
                    const struct options *options);

#endif
