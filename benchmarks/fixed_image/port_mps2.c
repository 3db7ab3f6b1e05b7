/* port_mps2.c - QEMU's mps2-an386, a Cortex-M4F: semihosting to say something, SysTick to count instructions. */
#include "port.h"

#define SYST_CSR (*(volatile uint32_t *)0xE000E010u)
#define SYST_RVR (*(volatile uint32_t *)0xE000E014u)
#define SYST_CVR (*(volatile uint32_t *)0xE000E018u)
#define CPACR (*(volatile uint32_t *)0xE000ED88u)

extern uint32_t stack_top[], data_source[], data_start[], data_end[], bss_start[], bss_end[];

int main(void);
void reset(void);

static uint32_t started, empty;

static void semihost(uint32_t operation, const void *parameter)
{
    register uint32_t r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = parameter;

    __asm__ volatile("bkpt 0xAB" : "+r"(r0) : "r"(r1) : "memory");
}

void port_put(char character)
{
    semihost(0x03u, &character); /* SYS_WRITEC */
}

void port_begin(void)
{
    started = SYST_CVR;
}

/* `-icount shift=6`: an instruction is 64 ns, a tick of 25 MHz is 40 ns. */
uint32_t port_stop(void)
{
    const uint32_t ticks = (started - SYST_CVR) & 0xFFFFFFu;

    return (ticks * 5u + 4u) / 8u - empty;
}

static void failed(void)
{
    semihost(0x18u, (const void *)0x20023u); /* SYS_EXIT, a run-time error */
    for (;;) {
    }
}

/* Does a tick count what it is said to count? A loop of 20,000 instructions has to be that many, but for entering it. */
void port_start(void)
{
    uint32_t loops = 10000u, took;

    SYST_RVR = 0xFFFFFFu;
    SYST_CVR = 0;
    SYST_CSR = 5;
    empty = 0;
    port_begin();
    empty = port_stop();
    port_begin();
    __asm__ volatile("1:\n\tsubs %0, %0, #1\n\tbne 1b" : "+r"(loops) : : "cc");
    took = port_stop();
    if (took < 20000u || took > 20004u) {
        failed();
    }
}

void port_end(void)
{
    semihost(0x18u, (const void *)0x20026u); /* SYS_EXIT, the application has ended */
    for (;;) {
    }
}

void reset(void)
{
    const uint32_t *from = data_source;
    uint32_t *to;

    CPACR |= 0xFu << 20;
    __asm__ volatile("dsb\n\tisb" ::: "memory");
    for (to = data_start; to < data_end; to++) {
        *to = *from++;
    }
    for (to = bss_start; to < bss_end; to++) {
        *to = 0;
    }
    (void)main();
    failed();
}

typedef void (*vector)(void);

__attribute__((section(".vectors"), used)) static const struct {
    const uint32_t *stack;
    vector exceptions[15];
} vectors = {
    stack_top,
    {reset, failed, failed, failed, failed, failed, 0, 0, 0, 0, failed, failed, 0, failed, failed},
};
