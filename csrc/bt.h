/* The interface of the extension for C: bt.cdef.h with its types and a guard around it. */
#ifndef BT_H
#define BT_H

#include <stddef.h>
#include <stdint.h>

#include "bt.cdef.h"

#endif
