// Made-up frames for the test programs.

#pragma once

#include "fieldfit.hpp"

#include <cstdint>
#include <vector>

// Pixels of a camera, 64 × 48, BGR.
struct Picture {
    static constexpr std::uint32_t width = 64;
    static constexpr std::uint32_t height = 48;
    std::vector<std::uint8_t> pixels;

    explicit Picture(unsigned seed) : pixels(width * height * 3) {
        for (std::size_t index = 0; index < pixels.size(); ++index) {
            pixels[index] = static_cast<std::uint8_t>(index * (7 + 4 * seed) % 251);
        }
    }

    fieldfit_frame frame() const { return fieldfit::frame(pixels.data(), pixels.size(), FIELDFIT_BGR8, width, height); }
};
