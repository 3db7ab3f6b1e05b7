/*
 * spi.cpp - sensors with registers of 16 bits at SPI, as most gyros and encoders of absolute angle have them.
 */
#include <Arduino.h>
#include <SPI.h>

#include "board.h"

#define READ 0x80u /* in front of the register's address */

namespace esmaml {

void spi_begin(uint8_t pin_select)
{
    if (pin_select != NOT_WIRED) {
        digitalWrite(pin_select, HIGH);
        pinMode(pin_select, OUTPUT);
        SPI.begin();
    }
}

int32_t spi_register(uint8_t pin_select, uint8_t at)
{
    uint8_t high, low;
    if (pin_select == NOT_WIRED) {
        return 0;
    }
    SPI.beginTransaction(SPISettings(1000000UL, MSBFIRST, SPI_MODE3));
    digitalWrite(pin_select, LOW);
    SPI.transfer((uint8_t)(READ | at));
    high = SPI.transfer(0);
    low = SPI.transfer(0);
    digitalWrite(pin_select, HIGH);
    SPI.endTransaction();
    return (int16_t)((uint16_t)high << 8 | low);
}

} // namespace esmaml
