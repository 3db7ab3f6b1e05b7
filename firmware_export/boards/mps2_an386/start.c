/* start.c - vectors and what happens before main() on a Cortex-M4. */
#include <stdint.h>

#include "mps2.h"

extern uint32_t stack_top[], data_source[], data_start[], data_end[], bss_start[], bss_end[], stack_limit[];

int main(void);
void reset(void);

/* A fault leaves nothing to trust, nor does the watchdog's NMI: start again, with the motors off, and under another boot
 * id. */
static void restart(void)
{
    AIRCR = AIRCR_KEY | AIRCR_SYSRESETREQ;
    for (;;) {
    }
}

void reset(void)
{
    const uint32_t *from = data_source;
    uint32_t *to;
    volatile uint32_t *paint; /* volatile: a call of memset() would need the stack that it paints */

    CPACR |= CPACR_FPU;
    __asm volatile("dsb\n\tisb" ::: "memory");
    for (to = data_start; to < data_end; to++) {
        *to = *from++;
    }
    for (to = bss_start; to < bss_end; to++) {
        *to = 0;
    }
    __asm volatile("mov %0, sp" : "=r"(paint)); /* below it nothing of this function's own is left */
    while (paint > stack_limit) {
        *--paint = STACK_PAINT;
    }
    (void)main();
    restart();
}

typedef void (*vector)(void);

/* first the stack, then the exceptions by number from 1 on; interrupt n is number 16 + n */
__attribute__((section(".vectors"), used)) static const struct {
    const uint32_t *stack;
    vector exceptions[15];
    vector interrupts[6];
} vectors = {
    stack_top,
    {reset, restart, restart, restart, restart, restart, 0, 0, 0, 0, restart, restart, 0, restart, on_systick},
    {on_uart0_receive, restart, on_uart1_receive, restart, on_uart2_receive, restart},
};
