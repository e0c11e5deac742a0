// Stand-in for the ROS 2 message: the members that fieldfit.hpp reads, under the same names and types.

#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace sensor_msgs::msg {

struct Image {
    std::uint32_t height = 0;
    std::uint32_t width = 0;
    std::string encoding;
    std::uint8_t is_bigendian = 0;
    std::uint32_t step = 0;
    std::vector<std::uint8_t> data;
};

} // namespace sensor_msgs::msg
