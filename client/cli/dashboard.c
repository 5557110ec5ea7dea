/* tensorctl dashboard: a one-time address, and only it, for a browser. SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>

#include "client/cli/observe.h"
#include "client/cli/tensorctl.h"
#include "client/cli/text.h"

int dashboard_command(const struct options *options)
{
    struct td_failure failure = {0};
    char address[512];
    if (observe_dashboard(options->address, address, sizeof address, &failure))
        return complain(&failure);
    return puts(address) < 0 || fflush(stdout) ? EXIT_FAILURE : EXIT_SUCCESS;
}
