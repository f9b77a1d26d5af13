// Enters: the browser. Leaves: the page inside #page.
import { render } from "preact";
import { Page } from "./page";
import "./style/tokens.css";
import "./style/base.css";
import "./style/topbar.css";
import "./style/map.css";
import "./style/panel.css";
import "./style/transactions.css";
import "./style/trace.css";
import "./style/agents.css";

const root = document.getElementById("page");
if (root !== null) render(<Page />, root);
