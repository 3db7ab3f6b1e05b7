/* mps2.h - the registers that are used, from Arm's Cortex-M4 Devices Generic User Guide (DUI 0553), the Cortex-M System
 * Design Kit (DDI 0479: UART and watchdog) and Application Note AN386 (where things are). */
#ifndef MPS2_H
#define MPS2_H

#include <stdint.h>

#define REGISTER(address) (*(volatile uint32_t *)(address))

#define CLOCK_HZ 25000000u

#define SYST_CSR REGISTER(0xE000E010u)
#define SYST_RVR REGISTER(0xE000E014u)
#define SYST_CVR REGISTER(0xE000E018u)
#define SYST_CSR_RUN 7u /* enabled, with its interrupt, at the processor's clock */
#define ICSR REGISTER(0xE000ED04u)
#define ICSR_PENDSTSET (1u << 26)
#define NVIC_ISER0 REGISTER(0xE000E100u)
#define AIRCR REGISTER(0xE000ED0Cu)
#define AIRCR_KEY 0x05FA0000u
#define AIRCR_SYSRESETREQ 4u
#define CPACR REGISTER(0xE000ED88u)
#define CPACR_FPU (0xFu << 20)

#define UART0 0x40004000u
#define UART1 0x40005000u
#define UART2 0x40006000u
#define UART_DATA(base) REGISTER((base) + 0x00u)
#define UART_STATE(base) REGISTER((base) + 0x04u)
#define UART_CTRL(base) REGISTER((base) + 0x08u)
#define UART_INTSTATUS(base) REGISTER((base) + 0x0Cu)
#define UART_BAUDDIV(base) REGISTER((base) + 0x10u)
#define UART_TX_FULL 1u
#define UART_RX_FULL 2u
#define UART_ENABLE 0xBu /* both directions, interrupt for received bytes */
#define UART_INT_RX 2u
#define UART0_RX_IRQ 0u
#define UART1_RX_IRQ 2u
#define UART2_RX_IRQ 4u

/* The first time that it has counted down it raises an NMI, the second time it resets the chip. */
#define WATCHDOG 0x40008000u
#define WATCHDOG_LOAD REGISTER(WATCHDOG + 0x00u) /* a write begins to count anew */
#define WATCHDOG_CONTROL REGISTER(WATCHDOG + 0x08u)
#define WATCHDOG_LOCK REGISTER(WATCHDOG + 0xC00u)
#define WATCHDOG_ENABLE 3u /* the NMI, and the reset */
#define WATCHDOG_UNLOCK 0x1ACCE551u

#define STACK_PAINT 0xC5C5C5C5u /* what no stack is likely to leave behind; start.c puts it there */

void on_systick(void);
void on_uart0_receive(void);
void on_uart1_receive(void);
void on_uart2_receive(void);

#endif
