/* Loads libwebsockets. SPDX-License-Identifier: Apache-2.0 */
#include "server/web/lws.h"

#include <dlfcn.h>

/* TD_LWS_SONAME is the name without quotes, as the build found it. */
#define TEXT(x) #x
#define TEXT_OF(x) TEXT(x)

struct lws_library lws;

const char *lws_load(void)
{
    void *library = dlopen(TEXT_OF(TD_LWS_SONAME), RTLD_NOW | RTLD_GLOBAL); /* global: its event library looks for it */
    if (!library)
        return dlerror();
#define F(name)                                                               \
    if (!(lws.name = (__typeof__(lws_##name) *)dlsym(library, "lws_" #name))) \
        return dlerror();
    LWS_FUNCTIONS
#undef F
    return NULL;
}
