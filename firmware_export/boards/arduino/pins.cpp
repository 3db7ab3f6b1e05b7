/*
 * pins.cpp - encoders, analogue inputs and motors on an Arduino.
 */
#include <Arduino.h>

#include "board.h"
#include "core/build.h"

/* ---- encoders ---- */

#if ENCODERS > 0

struct input {
#if defined(__AVR__)
    volatile uint8_t *port; /* digitalRead() looks this up each time, which takes longer than two edges may be apart */
    uint8_t mask;
#else
    uint8_t pin;
#endif
};

static struct encoder {
    volatile int32_t edges;
    struct input a, b;
    uint8_t last; /* levels of both channels */
    bool there;
} encoders[ENCODERS];

static inline uint8_t level(const struct input &input)
{
#if defined(__AVR__)
    return (*input.port & input.mask) != 0;
#else
    return digitalRead(input.pin) == HIGH;
#endif
}

static void set_input(struct input &input, uint8_t pin)
{
    pinMode(pin, INPUT_PULLUP); /* open collectors need it, and others do not mind */
#if defined(__AVR__)
    input.port = portInputRegister(digitalPinToPort(pin));
    input.mask = digitalPinToBitMask(pin);
#else
    input.pin = pin;
#endif
}

static inline uint8_t levels(const struct encoder &encoder)
{
    return (uint8_t)(level(encoder.a) | level(encoder.b) << 1);
}

/* Four edges a period; a pair of edges at once is impossible and counts as none. */
static void on_edge(void)
{
    for (struct encoder *encoder = encoders; encoder < encoders + ENCODERS; encoder++) {
        if (encoder->there) {
            const uint8_t now = levels(*encoder);
            const uint8_t changed = now ^ encoder->last;
            if (changed == 1 || changed == 2) {
                /* forwards is 0, 1, 3, 2: channel A ahead of B */
                const bool backwards = ((now >> 1) ^ encoder->last) & 1;
                encoder->edges += backwards ? -1 : 1;
            }
            encoder->last = now;
        }
    }
}

#if defined(__AVR__)
/* Pins without an external interrupt of their own share one a port. */
ISR(PCINT0_vect)
{
    on_edge();
}
#if defined(PCINT1_vect)
ISR(PCINT1_vect, ISR_ALIASOF(PCINT0_vect));
#endif
#if defined(PCINT2_vect)
ISR(PCINT2_vect, ISR_ALIASOF(PCINT0_vect));
#endif
#endif

static void call_at_edges(uint8_t pin)
{
#if defined(__AVR__)
    if (digitalPinToPCICR(pin) != NULL) {
        *digitalPinToPCMSK(pin) |= (uint8_t)(1u << digitalPinToPCMSKbit(pin));
        *digitalPinToPCICR(pin) |= (uint8_t)(1u << digitalPinToPCICRbit(pin));
        return;
    }
#endif
    attachInterrupt(digitalPinToInterrupt(pin), on_edge, CHANGE);
}

#endif

namespace esmaml {

void encoder_begin(uint8_t number, uint8_t pin_a, uint8_t pin_b)
{
#if ENCODERS > 0
    if (number >= ENCODERS || pin_a == NOT_WIRED || pin_b == NOT_WIRED) {
        return;
    }
    struct encoder &encoder = encoders[number];
    set_input(encoder.a, pin_a);
    set_input(encoder.b, pin_b);
    encoder.last = levels(encoder);
    encoder.there = true;
    call_at_edges(pin_a);
    call_at_edges(pin_b);
#else
    (void)number;
    (void)pin_a;
    (void)pin_b;
#endif
}

int32_t encoder(uint8_t number)
{
#if ENCODERS > 0
    int32_t count;
    if (number >= ENCODERS) {
        return 0;
    }
    noInterrupts();
    count = encoders[number].edges;
    interrupts();
    return count;
#else
    (void)number;
    return 0;
#endif
}

/* ---- analogue inputs ---- */

int32_t analog(uint8_t pin)
{
    return pin == NOT_WIRED ? 0 : (int32_t)analogRead(pin);
}

/* ---- motors ---- */

static uint16_t pwm_top = 255;

#if defined(__AVR__) && defined(TCCR1A) && defined(ICR1)
/* Duty of one of timer 1's two outputs; false for another pin. At 0 the pin is taken from the timer, which would leave a
 * spike a period. */
static bool timer_1(uint8_t pin, uint16_t duty)
{
    const uint8_t timer = digitalPinToTimer(pin);
    if (timer == TIMER1A) {
        OCR1A = duty;
        TCCR1A = duty > 0 ? TCCR1A | _BV(COM1A1) : TCCR1A & ~_BV(COM1A1);
    } else if (timer == TIMER1B) {
        OCR1B = duty;
        TCCR1A = duty > 0 ? TCCR1A | _BV(COM1B1) : TCCR1A & ~_BV(COM1B1);
    } else {
        return false;
    }
    return true;
}

static void start_timer_1(uint16_t top)
{
    ICR1 = top;
    TCCR1A = _BV(WGM11); /* fast PWM up to ICR1 */
    TCCR1B = _BV(WGM13) | _BV(WGM12) | _BV(CS11);
}
#else
static bool timer_1(uint8_t, uint16_t)
{
    return false;
}

static void start_timer_1(uint16_t)
{
}
#endif

void motor_begin(uint8_t pin_pwm, uint8_t pin_reverse, uint16_t top)
{
    if (pin_pwm == NOT_WIRED || pin_reverse == NOT_WIRED) {
        return;
    }
    pwm_top = top;
    start_timer_1(top);
    digitalWrite(pin_pwm, LOW);
    digitalWrite(pin_reverse, LOW);
    pinMode(pin_pwm, OUTPUT);
    pinMode(pin_reverse, OUTPUT);
}

void motor(uint8_t pin_pwm, uint8_t pin_reverse, int32_t count)
{
    const uint16_t duty = (uint16_t)(count < 0 ? -count : count);
    if (pin_pwm == NOT_WIRED || pin_reverse == NOT_WIRED) {
        return;
    }
    digitalWrite(pin_reverse, count < 0 ? HIGH : LOW);
    if (!timer_1(pin_pwm, duty)) {
        analogWrite(pin_pwm, (int)((uint32_t)duty * 255u / pwm_top));
    }
}

} // namespace esmaml
