/*
 * hal_avr.c - the firmware on an ATmega at 16 MHz, as on an Arduino Uno or Mega.
 *
 * Two quadrature encoders, analogue inputs against AVcc, registers of a sensor board at SPI, two motors with PWM and
 * direction, a power stage that is high while there is torque, and a pin that toggles once a control period, behind the
 * commands of that period. Where they are is in the chip's chip.h; which sensor of the robot is which input, in
 * wiring.h, rendered from board.toml.
 * The host is at UART 0. Interrupts move bytes and count edges; everything else is in the main loop, and no interrupt
 * computes with floats.
 */
#include <avr/eeprom.h>
#include <avr/interrupt.h>
#include <avr/io.h>
#include <avr/wdt.h>
#include <string.h>

#include "chip.h"
#include "firmware.h"
#include "hal.h"
#include "pin.h"
#include "rom.h"
#include "wiring.h"

#ifndef FIRMWARE_ID
#error "define FIRMWARE_ID, a 32-bit hash of the sources (firmware_export.build does)"
#endif
#ifndef BAUD_RATE
#error "define BAUD_RATE (board.toml does)"
#endif

#define RX_BYTES 88u  /* the longest command, as a frame, is 82 bytes */
#define TX_BYTES 128u /* a power of two */
#define PERIOD ((uint32_t)ROBOT_CONTROL_PERIOD_US)
#define US_PER_COUNT 4u /* timer 0 at 16 MHz / 64 */
#define REST_US 20000u        /* a wheel that has not moved for so long stands */
#define REST_LIMIT_US 5000000u /* wait no longer for a robot that is being carried */
#define ADC_TRIES 1000u       /* a conversion takes 13 of its own clocks, some hundred turns of the loop */
#define SPI_TRIES 1000u       /* a byte takes 128 cycles; in simavr 1600 */
#define SPI_READ 0x80u        /* in front of the register's address: as in most gyros and encoders with SPI */

#define ENCODER_PINS() ((uint8_t)((unsigned)PIN_INPUT(ENCODERS_FROM) >> PIN_BIT(ENCODERS_FROM) & 0x0Fu))
#define SET(pin, high) set_bit(&PIN_PORT(pin), PIN_BIT(pin), high)
#define OUTPUT(pin) set_bit(&PIN_DDR(pin), PIN_BIT(pin), 1)
#define TOGGLE_TICK() (PIN_INPUT(TICK) = _BV(PIN_BIT(TICK))) /* writing a 1 there toggles the pin */

static struct firmware firmware;

static volatile uint8_t rx[RX_BYTES];
static volatile uint8_t rx_in, rx_out;
static volatile uint8_t tx[TX_BYTES];
static volatile uint8_t tx_in, tx_out;
static volatile uint32_t timer_turns;
static volatile int32_t edges[2];
static uint8_t encoder_pins;

static void set_bit(volatile uint8_t *port, uint8_t bit, uint8_t high)
{
    *port = (uint8_t)(high ? *port | _BV(bit) : *port & ~_BV(bit));
}

/* ---- interrupts ---- */

ISR(RECEIVED_VECTOR)
{
    const uint8_t byte = UDR0;
    const uint8_t next = (uint8_t)((rx_in + 1u) % RX_BYTES);
    if (next != rx_out) { /* a byte too many is lost, and with it its frame: the CRC sees to that */
        rx[rx_in] = byte;
        rx_in = next;
    }
}

ISR(SENDABLE_VECTOR)
{
    if (tx_out == tx_in) {
        UCSR0B = (uint8_t)(UCSR0B & ~_BV(UDRIE0));
    } else {
        UDR0 = tx[tx_out];
        tx_out = (uint8_t)((tx_out + 1u) % TX_BYTES);
    }
}

ISR(TIMER0_OVF_vect)
{
    timer_turns++;
}

/* Two encoders, four edges a period each; a pair of edges at once is impossible and counts as none. */
ISR(ENCODER_VECTOR)
{
    static const uint8_t moved[16] ROM = {0, 1, 255, 0, 255, 0, 0, 1, 1, 0, 0, 255, 0, 255, 1, 0};
    const uint8_t now = ENCODER_PINS();
    const int8_t first = (int8_t)rom_u8(&moved[((encoder_pins & 0x03u) << 2) | (now & 0x03u)]);
    const int8_t second = (int8_t)rom_u8(&moved[(encoder_pins & 0x0Cu) | (now >> 2)]);
    if (first) { /* mostly one moves: 32 bits are added in twenty cycles */
        edges[0] += first;
    }
    if (second) {
        edges[1] += second;
    }
    encoder_pins = now;
}
ENCODER_OTHER_VECTORS

/* ---- hal.h ---- */

void hal_devices(int anew, struct hal_devices *devices)
{
    (void)anew;
    memset(devices, 0, sizeof *devices);
}

uint32_t hal_now_us(void)
{
    const uint8_t status = SREG;
    uint32_t turns;
    uint8_t count;

    cli();
    turns = timer_turns;
    count = TCNT0;
    if ((TIFR0 & _BV(TOV0)) && count < 255u) { /* it turned just now, and its interrupt waits */
        turns++;
    }
    SREG = status;
    return ((turns << 8) | count) * US_PER_COUNT;
}

static int32_t encoder(uint8_t number)
{
    const uint8_t status = SREG;
    int32_t count;
    cli();
    count = edges[number];
    SREG = status;
    return count;
}

static int32_t analogue(uint8_t channel)
{
    uint16_t tries;
    ADMUX = (uint8_t)(_BV(REFS0) | channel);
    ADCSRA = (uint8_t)(ADCSRA | _BV(ADSC));
    for (tries = 0; (ADCSRA & _BV(ADSC)) && tries < ADC_TRIES; tries++) {
    }
    return (int32_t)ADC;
}

#if WIRING_SPI
static uint8_t spi_byte(uint8_t out)
{
    uint16_t tries;
    SPDR = out;
    for (tries = 0; !(SPSR & _BV(SPIF)) && tries < SPI_TRIES; tries++) {
    }
    return SPDR;
}

/* 16 bits with a sign, the higher byte in the register `at`, the lower one in the next. */
static int32_t spi_register(uint8_t at)
{
    uint8_t high, low;
    SET(SPI_SELECT, 0);
    (void)spi_byte((uint8_t)(SPI_READ | at));
    high = spi_byte(0);
    low = spi_byte(0);
    SET(SPI_SELECT, 1);
    return (int16_t)((uint16_t)high << 8 | low);
}

static void start_spi(void)
{
    SET(SPI_SELECT, 1);
    OUTPUT(SPI_SELECT);
    OUTPUT(SPI_MASTER);
    OUTPUT(SPI_OUT);
    OUTPUT(SPI_CLOCK);
    SPCR = _BV(SPE) | _BV(MSTR) | _BV(CPOL) | _BV(CPHA) | _BV(SPR0); /* mode 3, 1 MHz */
}
#endif

static int32_t input(struct wire wire)
{
#if WIRING_SPI
    if (wire.kind == WIRE_SPI) {
        return spi_register(wire.number);
    }
#endif
    return wire.kind == WIRE_ADC ? analogue(wire.number) : encoder(wire.number);
}

void hal_sense(int32_t *sensors)
{
    static const struct wire wires[ROBOT_SENSORS] ROM = WIRING_SENSORS;
    uint8_t i;
    for (i = 0; i < ROBOT_SENSORS; i++) {
        struct wire wire;
        wire.kind = rom_u8(&wires[i].kind);
        wire.number = rom_u8(&wires[i].number);
        sensors[i] = input(wire);
    }
}

/* PWM with `duty` of WIRING_PWM_TOP. At 0 the pin is taken from the timer, which would leave a spike a period. */
static void motor(uint8_t number, int32_t count)
{
    const uint16_t duty = (uint16_t)(count < 0 ? -count : count);
    if (number == 0) {
        SET(MOTOR_0_REVERSE, count < 0);
        OCR1A = duty;
        set_bit(&TCCR1A, COM1A1, duty > 0);
    } else {
        SET(MOTOR_1_REVERSE, count < 0);
        OCR1B = duty;
        set_bit(&TCCR1A, COM1B1, duty > 0);
    }
}

void hal_actuate(const int32_t *actuators, int torque_on)
{
    static const struct wire wires[ROBOT_ACTUATORS] ROM = WIRING_ACTUATORS;
    uint8_t i;
    if (!torque_on) {
        SET(POWER_STAGE, 0);
    }
    for (i = 0; i < ROBOT_ACTUATORS; i++) {
        motor(rom_u8(&wires[i].number), actuators[i]);
    }
    if (torque_on) {
        SET(POWER_STAGE, 1);
    }
}

size_t hal_uart_read(uint8_t *data, size_t capacity)
{
    size_t count = 0;
    while (count < capacity && rx_out != rx_in) {
        data[count++] = rx[rx_out];
        rx_out = (uint8_t)((rx_out + 1u) % RX_BYTES);
    }
    return count;
}

int hal_uart_write(const uint8_t *data, size_t length)
{
    const uint8_t used = (uint8_t)((uint8_t)(tx_in - tx_out) % TX_BYTES);
    size_t i;
    if (length >= TX_BYTES - used) {
        return 0;
    }
    for (i = 0; i < length; i++) {
        tx[tx_in] = data[i];
        tx_in = (uint8_t)((tx_in + 1u) % TX_BYTES);
    }
    UCSR0B = (uint8_t)(UCSR0B | _BV(UDRIE0));
    return 1;
}

/* The last four bytes of the EEPROM count boots. */
uint32_t hal_store_size(void)
{
    return E2END + 1u - 4u;
}

void hal_store_read(uint32_t at, uint8_t *data, uint32_t length)
{
    eeprom_read_block(data, (const void *)(uint16_t)at, (size_t)length);
}

void hal_store_write(uint32_t at, const uint8_t *data, uint32_t length)
{
    uint32_t i;
    for (i = 0; i < length; i++) { /* 3.4 ms each, but for bytes that are right already */
        wdt_reset();
        eeprom_update_byte((uint8_t *)(uint16_t)(at + i), data[i]);
    }
}

/* Somebody has put the robot at its start, or is about to; wheels that stand say that it is there. The seed is for an
 * emulated world, which sees what is written to these two registers; a chip has no use for them. */
void hal_episode_begin(uint32_t episode_seed)
{
    const uint32_t begun = hal_now_us();
    uint32_t moved = begun;
    int32_t at[2] = {encoder(0), encoder(1)};
    uint8_t i;

    for (i = 0; i < 4; i++) {
        GPIOR1 = (uint8_t)(episode_seed & 0xFFu);
        GPIOR0 = (uint8_t)(i + 1u);
        episode_seed >>= 8;
    }
    while (hal_now_us() - moved < REST_US && hal_now_us() - begun < REST_LIMIT_US) {
        wdt_reset();
        for (i = 0; i < 2; i++) {
            const int32_t now = encoder(i);
            if (now != at[i]) {
                at[i] = now;
                moved = hal_now_us();
            }
        }
    }
}

/* ---- stack ---- */

#define PAINT 0xC5 /* what no stack is likely to leave behind */

extern uint8_t _end; /* of all variables; the stack comes down from RAMEND, and there is no heap */

#define TEXT_OF(x) #x
#define TEXT(x) TEXT_OF(x)

/* Before main(), and before anything is on the stack. Not a function: the compiler knows no stack of a naked one. */
__asm__(".pushsection .init3,\"ax\",@progbits\n\t"
        "ldi r30, lo8(_end)\n\t"
        "ldi r31, hi8(_end)\n\t"
        "ldi r24, " TEXT(PAINT) "\n\t"
        "ldi r25, hi8(" TEXT(RAMEND) " + 1)\n"
        "1:\n\t"
        "st Z+, r24\n\t"
        "cpi r30, lo8(" TEXT(RAMEND) " + 1)\n\t"
        "cpc r31, r25\n\t"
        "brne 1b\n\t"
        ".popsection");

void hal_stack(uint16_t *used, uint16_t *left)
{
    const uint8_t *at = &_end;
    while (at < (const uint8_t *)RAMEND && *at == PAINT) {
        at++;
    }
    *left = (uint16_t)(at - &_end);
    *used = (uint16_t)((uint16_t)RAMEND + 1u - (uint16_t)at);
}

/* ---- start ---- */

/* Differs at each start: a count of them, kept where power does not matter. */
static uint32_t count_boots(void)
{
    uint32_t *const place = (uint32_t *)(E2END - 3); /* the last four bytes */
    const uint32_t count = eeprom_read_dword(place) + 1u;
    eeprom_write_dword(place, count);
    return count;
}

static void start_pins(void)
{
    OUTPUT(POWER_STAGE);
    OUTPUT(MOTOR_0_PWM);
    OUTPUT(MOTOR_0_REVERSE);
    OUTPUT(MOTOR_1_PWM);
    OUTPUT(MOTOR_1_REVERSE);
    OUTPUT(TICK);
    ICR1 = WIRING_PWM_TOP;
    TCCR1A = _BV(WGM11); /* fast PWM up to ICR1, 2 kHz at a top of 1000 */
    TCCR1B = (uint8_t)(_BV(WGM13) | _BV(WGM12) | _BV(CS11));
    ADCSRA = (uint8_t)(_BV(ADEN) | _BV(ADPS2) | _BV(ADPS1) | _BV(ADPS0));
#if WIRING_SPI
    start_spi();
#endif
    encoder_pins = ENCODER_PINS();
    ENCODER_START();
}

static void start_line(void)
{
    UCSR0A = _BV(U2X0);
    UBRR0 = (uint16_t)((F_CPU / 4u / BAUD_RATE - 1u) / 2u); /* F_CPU / (8 baud) - 1, rounded */
    UCSR0B = (uint8_t)(_BV(RXEN0) | _BV(TXEN0) | _BV(RXCIE0));
}

int main(void)
{
    uint32_t next;

    MCUSR = 0;
    wdt_reset();
    /* twice: after a reset by this timer it is on already, with its shortest time, and simavr 1.6 then takes the first
     * half of the sequence that changes it for the change */
    wdt_enable(WDTO_500MS);
    wdt_enable(WDTO_500MS); /* a main loop that hangs ends in a reset, and a reset in released actuators */
    TCCR0B = (uint8_t)(_BV(CS01) | _BV(CS00));
    TIMSK0 = _BV(TOIE0);
    start_pins();
    start_line();
    sei();
    firmware_init(&firmware, CHIP_NAME, (uint32_t)FIRMWARE_ID, count_boots());
    next = hal_now_us() + PERIOD;
    for (;;) {
        const uint8_t awaited = firmware.awaits;
        uint32_t now;
        wdt_reset();
        firmware_poll(&firmware);
        if (awaited && !firmware.awaits) {
            TOGGLE_TICK(); /* the host's commands of this period are there */
        }
        now = hal_now_us();
        if (now - next < (uint32_t)0x80000000UL) {
            if (firmware.awaits) {
                TOGGLE_TICK(); /* they never came */
            }
            GPIOR2 = 1; /* for an emulator that measures how long it takes */
            firmware_tick(&firmware);
            GPIOR2 = 0;
            if (!firmware.awaits) {
                TOGGLE_TICK();
            }
            if (firmware.state == STATE_RUN && firmware.episode.tick == 0) {
                next = firmware.first_tick_us; /* that waited for the robot to stand: the episode's periods count from it */
            }
            next += PERIOD;
            if (now - next < (uint32_t)0x80000000UL) {
                next = now + PERIOD; /* a whole period was missed: firmware.c has counted it */
            }
        }
    }
}
