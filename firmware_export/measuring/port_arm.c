/*
 * port_arm.c - a Cortex-M4F in QEMU. Its clock counts instructions (-icount shift=10: 1.024 us each), and SysTick counts
 * that clock in steps of 40 ns, 25.6 to an instruction, so a difference of two readings is an exact number of them.
 */
#include "bench.h"

#define SYST_CSR (*(volatile uint32_t *)0xE000E010u)
#define SYST_RVR (*(volatile uint32_t *)0xE000E014u)
#define SYST_CVR (*(volatile uint32_t *)0xE000E018u)
#define CPACR (*(volatile uint32_t *)0xE000ED88u)
#define PAINT 0xA5A5A5A5u
#define STACK_WORDS 8192u

extern uint32_t stack_top[], data_source[], data_start[], data_end[], bss_start[], bss_end[];
int main(void);
void reset(void);

static uint32_t began, empty;
static uint32_t *entered;

static uint32_t semihosting(uint32_t operation, const void *argument)
{
    register uint32_t r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = argument;

    __asm__ volatile("bkpt 0xAB" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

static void put_char(char c)
{
    semihosting(0x03, &c);
}

static void put_number(uint32_t value)
{
    int shift;

    for (shift = 28; shift >= 0; shift -= 4) {
        put_char("0123456789abcdef"[(value >> shift) & 15u]);
    }
    put_char('\n');
}

void port_begin(void)
{
    SYST_RVR = 0xFFFFFFu;
    SYST_CVR = 0;
    SYST_CSR = 5; /* the processor's clock, no interrupt */
    began = SYST_CVR;
    empty = 0;
    /* what two marks count of themselves */
    port_start();
    empty = (began - SYST_CVR) & 0xFFFFFFu;
    put_char('n'); /* a known run: 1000 instructions between two readings that count themselves as `empty` */
    port_start();
    __asm__ volatile(".rept 1000\n\tnop\n\t.endr");
    put_number(((began - SYST_CVR) & 0xFFFFFFu) - empty);
}

void port_load(void *to, const void *from, unsigned size)
{
    memcpy(to, from, size);
}

void __attribute__((noinline)) port_start(void)
{
    uint32_t *word;

    __asm__ volatile("mov %0, sp" : "=r"(entered));
    for (word = entered - STACK_WORDS; word < entered; word++) {
        *(volatile uint32_t *)word = PAINT;
    }
    began = SYST_CVR;
}

void __attribute__((noinline)) port_stop(void)
{
    const uint32_t ticks = ((began - SYST_CVR) & 0xFFFFFFu) - empty;
    const uint32_t *word = entered - STACK_WORDS;

    while (word < entered && *(const volatile uint32_t *)word == PAINT) {
        word++;
    }
    put_char('t');
    put_number(ticks);
    put_char('s');
    put_number((uint32_t)(entered - word) * 4u);
}

void port_put(unsigned char byte)
{
    put_char('b');
    put_number(byte);
}

void port_end(void)
{
    put_char('e');
    put_number(0);
    semihosting(0x18, (const void *)0x20026u); /* the program ended as it should */
    for (;;) {
    }
}

void reset(void)
{
    const uint32_t *from = data_source;
    uint32_t *to;

    CPACR |= 0xF00000u;
    __asm__ volatile("dsb\n\tisb" ::: "memory");
    for (to = data_start; to < data_end; to++) {
        *to = *from++;
    }
    for (to = bss_start; to < bss_end; to++) {
        *to = 0;
    }
    (void)main();
}

static void fault(void)
{
    put_char('f');
    put_number(0);
    semihosting(0x18, (const void *)0x20023u);
    for (;;) {
    }
}

__attribute__((section(".vectors"), used)) static const struct {
    const uint32_t *stack;
    void (*exceptions[15])(void);
} exceptions = {stack_top, {reset, fault, fault, fault, fault, fault, 0, 0, 0, 0, fault, fault, 0, fault, fault}};
