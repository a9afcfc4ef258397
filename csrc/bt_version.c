#include "bt.h"

int bt_abi_version(void) {
    return 3;
}
