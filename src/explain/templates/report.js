"use strict";
const cards = [...document.querySelectorAll("#cards .card")];
const buttons = [...document.querySelectorAll("#tools button")];
const type = document.getElementById("type");
const sort = document.getElementById("sort");

function update() {
  const show = buttons.find((button) => button.ariaPressed === "true").dataset.show;
  let visible = 0;
  for (const card of cards) {
    const wanted = (show === "all" || card.dataset.right === show) && (!type.value || card.dataset.type === type.value);
    card.hidden = !wanted;
    visible += wanted;
  }
  const key = sort.value.replace("-", "");
  const sign = sort.value.startsWith("-") ? -1 : 1;
  const order = (one, other) => sign * (one.dataset[key] - other.dataset[key]) || one.dataset.number - other.dataset.number;
  document.getElementById("cards").append(...cards.toSorted(order));
  document.getElementById("count").textContent = `${visible} of ${cards.length} questions`;
}

for (const button of buttons) {
  button.addEventListener("click", () => {
    buttons.forEach((other) => (other.ariaPressed = String(other === button)));
    update();
  });
}
type.addEventListener("change", update);
sort.addEventListener("change", update);
update();
