#pragma once

#include <memory>
#include <span>
#include <vector>

#include "tests/gpu/device_data.hpp"
#include "tests/kernels/tile_case.hpp"

namespace hack::tests {

/// Tiles in the device's memory, and room for what is found of them.
class DeviceTiles {
 public:
  explicit DeviceTiles(std::span<TileCase* const> cases) {
    for (const TileCase* c : cases) {
      Place& place = *places_.emplace_back(std::make_unique<Place>(*c));
      in.push_back(place.a.in());
      out.push_back({place.u.view(), place.sigma.view().data, place.vt.view()});
    }
  }

  /// Puts the results in the cases; returns how it went.
  std::vector<kernels::SvdStatus> take(std::span<TileCase* const> cases) const {
    std::vector<kernels::SvdStatus> statuses;
    for (std::size_t i = 0; i < cases.size(); ++i) {
      statuses.push_back(out[i].status);
      cases[i]->u = places_[i]->u.host();
      cases[i]->sigma = places_[i]->sigma.host();
      cases[i]->vt = places_[i]->vt.host();
    }
    return statuses;
  }

  std::vector<MatrixView<const float, Device::cuda>> in;
  std::vector<kernels::TileSvd<Device::cuda>> out;

 private:
  struct Place {
    DeviceMatrix<> a, u, sigma, vt;
    explicit Place(const TileCase& c) : a(c.a, c.h, c.w), u(c.h, c.k), sigma(1, c.r), vt(c.k, c.w) {}
  };
  std::vector<std::unique_ptr<Place>> places_;
};

}  // namespace hack::tests
