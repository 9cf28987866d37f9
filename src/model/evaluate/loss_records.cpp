#include "model/evaluate/loss_records.hpp"

#include <array>
#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "kernels/error.hpp"
#include "kernels/finite.hpp"

namespace hack::model {
namespace {

/// Where a window lies in the text, in tokens: first, behind the last, first scored.
using Place = std::array<index_t, 3>;

Place place_of(const Window& window) { return {window.begin, window.end, window.first_scored}; }

/// The losses in a record's content; nothing where they are not those of this window.
std::optional<std::vector<float>> losses_in(const std::string& content, const Window& window, index_t numbers) {
  const auto scored = static_cast<std::size_t>(window.scored() * numbers);
  Place place;
  if (content.size() != sizeof(place) + scored * sizeof(float)) return std::nullopt;
  std::memcpy(place.data(), content.data(), sizeof(place));
  if (place != place_of(window)) return std::nullopt;
  std::vector<float> losses(scored);
  if (scored > 0) std::memcpy(losses.data(), content.data() + sizeof(place), scored * sizeof(float));
  return losses;
}

}  // namespace

LossRecords::LossRecords(std::filesystem::path path, const nlohmann::json& run, index_t numbers)
    : file_(std::move(path), "losses", run), numbers_(numbers) {
  validate(file_.owner() != io::RecordFile::Owner::other_program,
           "{} is no file of losses; name another file, or remove this one", file_.path().string());
  if (file_.owner() != io::RecordFile::Owner::other_work) return;
  fail("{} holds losses of another run ({}); name another file, or remove this one", file_.path().string(),
       file_.difference());
}

void LossRecords::read(const WindowPlan& plan, WindowLosses& losses) const {
  losses.resize(plan.windows.size());
  for (std::size_t window = 0; window < losses.size(); ++window) {
    if (!losses[window].empty()) continue;
    const std::string name = std::to_string(plan.first + static_cast<index_t>(window));
    const std::optional<index_t> record = file_.find(name);
    const std::optional<std::string> content = record ? file_.read(*record) : std::nullopt;
    if (!content) continue;
    auto found = losses_in(*content, plan.windows[window], numbers_);
    if (!found) continue;
    validate(are_finite(*found),
             "{}: a loss of window {} is NaN or infinity; remove the file, the window is then scored again",
             file_.path().string(), name);
    losses[window] = *std::move(found);
  }
}

void LossRecords::append(const WindowPlan& plan, index_t window, std::span<const float> losses) {
  const Place place = place_of(plan.windows[window]);
  file_.append(std::to_string(plan.first + window), {std::as_bytes(std::span(place)), std::as_bytes(losses)},
               io::RecordFile::Durable::within_a_second);
}

}  // namespace hack::model
