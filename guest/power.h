/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The end of the machine. */
#ifndef RCVM_GUEST_POWER_H
#define RCVM_GUEST_POWER_H

_Noreturn void power_off (void);

#endif
