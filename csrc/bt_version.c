#include <stdint.h>
#include <sys/types.h>

#include "bt.cdef.h"

int bt_abi_version(void) {
    return 1;
}
